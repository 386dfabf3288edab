"""Which search indices hold a month's documents: what the table `search_indices` says, and the lock around it.

A month is served by one index. While `sspp reindex` builds the next generation of it, every document is written to
both. Who writes documents reads what holds and keeps it from changing until the writing is marked; who changes it
waits until nobody writes by what held before.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import psycopg

from common.database.partitions import month_start
from common.database.queries import Queries
from common.search.template import index_name

# A constant of our own among the database's advisory locks.
_INDICES_LOCK = 0x53535050_0004

_Connection = psycopg.Connection[Any]

_sql = Queries(__package__, "generations.sql")


@dataclass(frozen=True, slots=True)
class MonthIndices:
    """The indices of one month, which is named by its first day: one that serves, and perhaps one being built."""

    month: date
    generation: int = 1
    rebuilding: int | None = None

    @property
    def serving(self) -> str:
        """The name of the index that answers searches."""
        return index_name(self.month, self.generation)

    @property
    def building(self) -> str | None:
        """The name of the index that will take over, if one is being built."""
        return None if self.rebuilding is None else index_name(self.month, self.rebuilding)

    @property
    def names(self) -> tuple[str, ...]:
        """Every index that a document of the month must be written to, the serving one first."""
        return (self.serving,) if self.building is None else (self.serving, self.building)

    def switched(self) -> "MonthIndices":
        """What holds once the index that is being built has taken over; itself, if there is none."""
        return replace(self, generation=self.rebuilding or self.generation, rebuilding=None)


def span_of(month: date) -> dict[str, datetime]:
    """When the month with this first day begins and when the next one does, as parameters of a statement.

    They are called ``received_from`` and ``received_until``.
    """
    starts = datetime(month.year, month.month, 1, tzinfo=UTC)
    return {"received_from": starts, "received_until": month_start(starts, 1)}


class Generations:
    """What holds for each month at one moment; a month that nothing is recorded of has its first generation."""

    def __init__(self, recorded: Iterable[MonthIndices]) -> None:
        self._recorded = {indices.month: indices for indices in recorded}

    def of(self, received_at: datetime) -> MonthIndices:
        """The indices for a signal that was received at this (aware) instant."""
        month = received_at.astimezone(UTC).date().replace(day=1)
        return self.of_month(month)

    def of_month(self, month: date) -> MonthIndices:
        """The indices of the month with this first day."""
        return self._recorded.get(month) or MonthIndices(month)

    def rebuilding(self) -> list[MonthIndices]:
        """The months for which an index is being built, in order."""
        found = (indices for indices in self._recorded.values() if indices.rebuilding)
        return sorted(found, key=lambda indices: indices.month)


def read_generations(connection: _Connection) -> Generations:
    """What holds now; it may change right after. To write documents, ask `share_generations`."""
    return Generations(MonthIndices(*row) for row in connection.execute(_sql.list_generations))


def share_generations(connection: _Connection) -> Generations:
    """What holds now and until the end of the connection's transaction, for those who write documents.

    To be asked after the outbox rows are locked: whatever such a row names was committed before, so a rebuild that
    begins later copies it, and of one that began earlier the answer tells. And before the signals are read: who deletes
    some waits for the end of such transactions, then nobody writes the documents of what is gone
    (`common.database.transactions`).

    Raises:
        psycopg.errors.LockNotAvailable: a change was under way for longer than the session's lock_timeout.
    """
    connection.execute(_sql.share_indices, {"lock_key": _INDICES_LOCK})
    return read_generations(connection)


def transaction_check(connection: _Connection) -> Callable[[], object]:
    """What raises psycopg.Error once the connection's transaction has ended; to be called right before each request.

    A writer of documents that slept may have been given up by the server meanwhile, and then nobody waits for it. So it
    must not send what it read before: for `common.search.bulk.write_documents`, one round trip a request.
    """
    return partial(connection.execute, _sql.sign_of_life)


def claim_generations(connection: _Connection) -> None:
    """Wait until nobody writes documents, and keep all from it until the end of the connection's transaction.

    Raises:
        psycopg.errors.LockNotAvailable: somebody wrote for longer than the session's lock_timeout.
    """
    connection.execute(_sql.claim_indices, {"lock_key": _INDICES_LOCK})
