"""What every event domain is made of: types as data, and one pure function from event to meaning."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

import msgspec

from common.event_types.signal_type import SignalType


class Event(msgspec.Struct, frozen=True):
    """A valid event: its envelope, and its data as parsed JSON with `Decimal` in place of floats.

    `event_key` is its identity, the 16 bytes of a UUID.
    """

    tenant_id: int
    event_key: bytes
    event_id: str
    event_type: str
    customer_id: str
    occurred_at: datetime
    received_at: datetime
    trace_id: str | None
    data: Mapping[str, Any]


class Signal(msgspec.Struct, frozen=True):
    """One thing that an event means.

    `score` is from 0 to 1. `amount` and `currency` (ISO 4217) come together or not at all; `amount` is what
    the signal is about and never negative. `revenue` is what it adds to the customer's total in that
    currency: the amount of a purchase, minus the amount of a refund, zero otherwise.
    """

    signal_type: SignalType
    score: float
    amount: Decimal | None = None
    currency: str | None = None
    revenue: Decimal = Decimal(0)


class Projection(msgspec.Struct, frozen=True):
    """All that an event changes.

    `signals` holds at most 256; their order numbers them, so it must follow from the event alone. `profile` is
    the change of the customer's profile, if any: some of ``name``, ``email``, ``phone`` (str or None to
    clear), ``custom_fields`` (object; a None value removes the key) and ``tags`` (list of str, replacing all).
    """

    signals: tuple[Signal, ...] = ()
    profile: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class EventType:
    """One version of one event type: a JSON Schema (2020-12) for the event's ``data``."""

    name: str
    version: int
    schema: Mapping[str, Any]

    @property
    def description(self) -> str:
        """The schema's own description, for the listing of event types."""
        return str(self.schema.get("description", ""))


@dataclass(frozen=True, slots=True)
class Domain:
    """A family of event types and what they mean.

    `project` is pure and deterministic: the same event always yields an equal projection. It sees only events
    that its type's schema accepts.
    """

    name: str
    project: Callable[[Event], Projection]
    event_types: tuple[EventType, ...] = field(repr=False)


def load_event_types(package: str) -> tuple[EventType, ...]:
    """Read ``events/<name>.v<version>.json`` of a domain's package, sorted by name and version.

    Raises:
        ValueError: a file is not named that way.
    """
    loaded = []
    for path in files(package).joinpath("events").iterdir():
        name, _, version = path.name.removesuffix(".json").rpartition(".v")
        if not name or not version.isdigit():
            raise ValueError(f"{package}/events/{path.name}: expected <event_type>.v<version>.json")
        loaded.append(EventType(name, int(version), json.loads(path.read_text(encoding="utf-8"))))
    return tuple(sorted(loaded, key=lambda event_type: (event_type.name, event_type.version)))
