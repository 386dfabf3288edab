"""What PostgreSQL says that the index should hold: a month's signals in order, and single ones with their state."""

from collections.abc import Collection, Iterator
from datetime import date

from psycopg.rows import class_row

from common.database.queries import Queries
from common.search.documents import SignalRow
from infrastructure.database.connections import Connection
from infrastructure.search.rebuilds import FIRST_ID, span_of

_PAGE_SIGNALS = 1000  # what memory holds of them

_sql = Queries(__package__, "stored.sql")


class StoredSignals:
    """Reads signals through `connection`, which is in autocommit mode: each read sees what is committed by then.

    So a comparison of hours keeps no snapshot open, which would keep PostgreSQL from tidying up behind itself.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def count(self, month: date | None = None) -> dict[date, int]:
        """How many signals were received in each month, or in this one; months without any are left out."""
        span = span_of(month) if month else {"received_from": None, "received_until": None}
        return dict(self._connection.execute(_sql.count_signals, span).fetchall())

    def page(self, month: date, after: str, limit: int) -> list[SignalRow]:
        """Up to `limit` signals of the month in the order of their ids, from the one that follows this id."""
        with self._connection.cursor(row_factory=class_row(SignalRow)) as cursor:
            return cursor.execute(
                _sql.list_signals, span_of(month) | {"after": after, "limit": limit}
            ).fetchall()

    def walk(self, month: date) -> Iterator[SignalRow]:
        """Yield the month's signals in the order of their ids, page by page."""
        after = FIRST_ID
        while page := self.page(month, after, _PAGE_SIGNALS):
            yield from page
            after = page[-1].signal_id

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
