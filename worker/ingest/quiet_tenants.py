"""Tenants that send little are stored in between those that send much: what they wait for is kept short."""

import math
import time
from collections.abc import Callable, Sequence

from common.queue.streams import Entry

MOST_EVENTS_AT_ONCE = 100
"""Events of busy tenants in one transaction while quiet ones are there: about 10 milliseconds of work, beside as much
that each transaction costs."""

_REMEMBERED_SECONDS = 10.0


class QuietTenants:
    """Knows whether tenants are there that have no more waiting than their share, beside others that have.

    Busy is who has entries in the busy stream of its lane (`common.queue.streams`), or had some a moment ago. While all
    are quiet, or all are busy, there is nobody to give way to, and batches are as long as pays off.

    Args:
        monotonic: seconds, by a clock that nobody sets.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._busy_until: dict[int, float] = {}
        self._quiet_until = -math.inf

    def note(self, entries: Sequence[Entry]) -> None:
        """Learn from what is in hand."""
        now = self._monotonic()
        self._busy_until = {tenant: until for tenant, until in self._busy_until.items() if until > now}
        self._busy_until |= {entry.tenant_id: now + _REMEMBERED_SECONDS for entry in entries if entry.is_busy}
        if any(entry.tenant_id not in self._busy_until for entry in entries):
            self._quiet_until = now + _REMEMBERED_SECONDS

    @property
    def give_way(self) -> bool:
        """Whether busy tenants have to."""
        now = self._monotonic()
        return self._quiet_until > now and any(until > now for until in self._busy_until.values())

    def next_stretch(self, held: Sequence[Entry], most_events: int) -> tuple[Sequence[Entry], int]:
        """Out of which entries of `held` the next batch is to be made, and of how many events at most."""
        if not held or not self.give_way:
            return held, most_events
        first_other = next(
            (at for at, entry in enumerate(held) if entry.is_busy != held[0].is_busy), len(held)
        )
        return held[:first_other], min(most_events, MOST_EVENTS_AT_ONCE) if held[0].is_busy else most_events
