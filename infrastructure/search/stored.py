"""What PostgreSQL says that the index should hold: a month's signals in order, and single ones with their state."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import chain
from typing import NamedTuple

from psycopg.rows import class_row

from common.database.queries import Queries
from common.search.documents import SignalRow
from common.search.generations import span_of
from infrastructure.database.connections import Connection

_PAGE_SIGNALS = 1000  # what memory holds of them

_sql = Queries(__package__, "stored.sql")


class Position(NamedTuple):
    """How far a walk has got: the primary key of the last signal of it."""

    received_at: datetime
    signal_id: str


class StoredSignals:
    """Reads signals through `connection`, which is in autocommit mode: each read sees what is committed by then.

    So a comparison of hours keeps no snapshot open, which would keep PostgreSQL from tidying up behind itself.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def count(self, months: Collection[date] = ()) -> dict[date, int]:
        """How many signals each of `months`, or of all, has; months without any are left out."""
        everything = {"received_from": None, "received_until": None}
        spans: Sequence[Mapping[str, datetime | None]] = [span_of(month) for month in months] or [everything]
        return {
            month: signals
            for span in spans
            for month, signals in self._connection.execute(_sql.count_signals, span)
        }

    def pages(
        self, month: date, limit: int = _PAGE_SIGNALS, *, through: Position | None = None
    ) -> Iterator[list[SignalRow]]:
        """Yield the month's signals from the newest to the oldest, in pages of up to `limit`; none is empty.

        In the order of their primary key, backwards, from the one that comes after `through`. What is stored
        meanwhile is left out, as far as it was received after what was read.
        """
        while page := self.page(month, limit, through=through):
            yield page
            through = Position(page[-1].received_at, page[-1].signal_id)

    def page(self, month: date, limit: int, *, through: Position | None = None) -> list[SignalRow]:
        """One of `pages`: what comes after `through`, or else the newest; empty at the end."""
        at, signal_id = through or (None, None)
        bounds = span_of(month) | {"limit": limit, "through_at": at, "through_id": signal_id}
        with self._connection.cursor(row_factory=class_row(SignalRow)) as cursor:
            return cursor.execute(_sql.list_signals, bounds).fetchall()

    def walk(self, month: date) -> Iterator[SignalRow]:
        """Yield the month's signals one by one, as `pages` has them."""
        return chain.from_iterable(self.pages(month))

    def find(self, month: date, signal_ids: Collection[str]) -> dict[str, SignalRow]:
        """The month's signals among `signal_ids`, by id."""
        with self._connection.cursor(row_factory=class_row(SignalRow)) as cursor:
            cursor.execute(_sql.find_signals, span_of(month) | {"signal_ids": list(signal_ids)})
            return {row.signal_id: row for row in cursor}

    def find_pending(self, signal_ids: Collection[str]) -> set[str]:
        """Those of `signal_ids` that the index stage still has to write."""
        found = self._connection.execute(_sql.find_pending, {"signal_ids": list(signal_ids)})
        return {signal_id for (signal_id,) in found}

    def find_refusals(self, signal_ids: Collection[str]) -> dict[str, str]:
        """Why Elasticsearch refused those of `signal_ids` that it did refuse."""
        found = self._connection.execute(_sql.find_refusals, {"signal_ids": list(signal_ids)})
        return {signal_id: f"{status}: {reason}" for signal_id, status, reason in found}
