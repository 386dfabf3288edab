"""The dead-letter guard: when most of what arrives is suddenly to be refused, the code is the suspect."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

FAULT_CODES = frozenset({"processing_failed", "unstorable"})
"""The refusals that may be faults of our own code; all others are for what an event says."""

FAULT_GRACE = 100
"""So many faults of our own never trip the guard, or as many as the grace of all refusals if that is less."""

EVERYONE = None
"""In place of a tenant's id: all tenants together that are not held up themselves."""

_FORGOTTEN_EVENTS = 0.5


class Tally(NamedTuple):
    """Events, how many of them are to be refused, and how many of those for what may be a fault of our own."""

    events: float = 0
    refused: float = 0
    faults: float = 0

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(self.events + other.events, self.refused + other.refused, self.faults + other.faults)

    def times(self, factor: float) -> "Tally":
        """As much as that share of it."""
        return Tally(self.events * factor, self.refused * factor, self.faults * factor)


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """From where on refusals are too many.

    Args:
        max_share: the share of refused events beyond which the guard trips; 1 switches it off.
        grace: so many refused events never trip it.
        window_seconds: the time constant with which counts fade; after it 37 % of a count are left.
    """

    max_share: float = 0.5
    grace: int = 1000
    window_seconds: float = 600.0


class RefusalGuard:
    """Tells whose refusals are to be withheld, from how many there were lately; one for a worker process.

    It trips for a tenant when more than the grace, and more than the allowed share of its events, are to be
    refused; and for all other tenants together likewise, since a fault of ours can meet many that are small. So one
    tenant's broken client is nobody else's trouble. Once tripped it stays so, however much its counts have faded,
    until the share is back within the limit. Withheld refusals count as much as those that were made.
    """

    def __init__(self, limits: GuardLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._counts: dict[int, Tally] = {}
        self._counted_at = clock()
        self._tripped: frozenset[int | None] = frozenset()

    def withholds(self, batch: Mapping[int, Tally]) -> frozenset[int]:
        """Those tenants of `batch`, a tally of each, whose refusals are to be withheld. Counts nothing."""
        if not any(tally.refused for tally in batch.values()):
            return frozenset()
        tripped = self._judge(self._with(batch))
        return frozenset(
            tenant_id
            for tenant_id, tally in batch.items()
            if tally.refused and (tenant_id in tripped or EVERYONE in tripped)
        )

    def count(self, batch: Mapping[int, Tally]) -> None:
        """Count a batch that is settled; one that is tried again must not count twice."""
        counts = self._with(batch)
        self._tripped = self._judge(counts)
        self._counts = {
            tenant_id: tally for tenant_id, tally in counts.items() if tally.events >= _FORGOTTEN_EVENTS
        }
        self._counted_at = self._clock()

    def share(self, tenant_id: int) -> float:
        """The share of a tenant's events that were lately to be refused."""
        tally = self._counts.get(tenant_id, Tally())
        return tally.refused / tally.events if tally.events else 0.0

    def _with(self, batch: Mapping[int, Tally]) -> dict[int, Tally]:
        left = math.exp((self._counted_at - self._clock()) / self._limits.window_seconds)
        counts = {tenant_id: tally.times(left) for tenant_id, tally in self._counts.items()}
        for tenant_id, tally in batch.items():
            counts[tenant_id] = counts.get(tenant_id, Tally()).plus(tally)
        return counts

    def _judge(self, counts: Mapping[int, Tally]) -> frozenset[int | None]:
        tripped: set[int | None] = {
            tenant_id for tenant_id, tally in counts.items() if self._trips(tenant_id, tally)
        }
        rest = Tally()
        for tenant_id, tally in counts.items():
            if tenant_id not in tripped:
                rest = rest.plus(tally)
        if self._trips(EVERYONE, rest):
            tripped.add(EVERYONE)
        return frozenset(tripped)

    def _trips(self, who: int | None, tally: Tally) -> bool:
        limits = self._limits
        allowed = limits.max_share * tally.events
        # Fading must not leave a share above 1 to rounding.
        if limits.max_share >= 1 or tally.refused <= allowed:
            return False
        return (
            who in self._tripped
            or tally.refused > limits.grace
            or (tally.faults > min(FAULT_GRACE, limits.grace) and tally.faults > allowed)
        )
