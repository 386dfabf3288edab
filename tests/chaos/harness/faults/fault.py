"""What a fault is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from harness.stack import Stack
from harness.stores import Batches


@dataclass(frozen=True, slots=True)
class Injury:
    """What was done: with which parameters, and the outbox rows that were in work at that moment, if known."""

    parameters: dict[str, str | int | float] = field(default_factory=dict)
    batches: Batches = frozenset()


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: what it is called in reports and on the command line.
        family: kinds that hit the same thing.
        inflict: does it, and returns when it is over; the dice give it its parameters. What it stopped it lets
            go on; what it killed is for the supervisor to start again.
        weight: how often it is drawn among the kinds of its family.
    """

    name: str
    family: str
    inflict: Callable[[Stack, Random], Injury]
    weight: int = 1
