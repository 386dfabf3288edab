"""Valid events that want to be stored, with all that can be worked out before the database says which are new."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from worker.store.customers import CustomerChange, customer_changes
from worker.validation.events import ValidEvent

CustomerChanges: TypeAlias = Mapping[tuple[int, str], CustomerChange]
"""By tenant and customer id, sorted by these."""


class Candidates:
    """Events that are to be stored in one transaction.

    `first` holds each of them once, by its identity; `repeated` those that came again, each with the raw text of the
    first.
    """

    def __init__(self, events: Sequence[ValidEvent]) -> None:
        self._events = events
        self.first: dict[bytes, ValidEvent] = {}
        self.repeated: list[tuple[ValidEvent, bytes]] = []
        for candidate in events:
            earlier = self.first.setdefault(candidate.event.event_key, candidate)
            if earlier is not candidate:
                self.repeated.append((candidate, earlier.raw))
        self._changes: CustomerChanges | None = None

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[ValidEvent]:
        return iter(self._events)

    def halves(self) -> tuple["Candidates", "Candidates"]:
        """The same events in two transactions' worth."""
        middle = len(self._events) // 2
        return Candidates(self._events[:middle]), Candidates(self._events[middle:])

    def work_ahead(self) -> None:
        """Work out now what `customer_changes` will be asked for."""
        # An event that breaks the code does so again when it is stored, where it is told from its neighbours.
        with suppress(Exception):
            self._changes = _sum_up(self.first.values())

    def customer_changes(self, known: Collection[bytes]) -> CustomerChanges:
        """What those whose identity is not among `known` change about their customers, in order of these."""
        changes = self._changes
        if changes is None:
            return _sum_up(valid for key, valid in self.first.items() if key not in known)
        if not known:
            return changes
        customers = {self.first[key].customer for key in known}
        corrected = _sum_up(
            valid for key, valid in self.first.items() if key not in known and valid.customer in customers
        )
        return {
            customer: corrected.get(customer, change)
            for customer, change in changes.items()
            if customer not in customers or customer in corrected
        }


def _sum_up(events: Iterable[ValidEvent]) -> CustomerChanges:
    return customer_changes((valid.event, valid.projection) for valid in events)
