"""The outbox: the ingest batches whose signals the index still has to learn, in PostgreSQL."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import Connection
from psycopg.rows import args_row, class_row

from common.database.queries import Queries
from common.search.documents import SignalRow
from common.tracing.contexts import MOST_CONTEXTS

_READ_ROWS = 500  # a round trip's worth of signals, and what memory holds of them
_LONGEST_PAUSE_SECONDS = 60.0

_sql = Queries("worker.index", "outbox.sql")


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One ingest batch of one tenant that the index still has to learn."""

    batch_id: int
    tenant_id: int
    signal_ids: list[str]
    attempts: int
    received_from: datetime
    received_until: datetime

    @property
    def is_resent(self) -> bool:
        """Whether it was indexed before, so that its documents are most likely there."""
        return self.attempts < 0


def lock_due_rows(connection: Connection, most_signals: int) -> list[OutboxRow]:
    """Lock the free rows that are due first, about `most_signals` signals' worth and at least one row.

    They stay locked until the transaction ends. Sizes are known only once a row is locked, and a lock too many idles
    another stage: so each fetch asks for as many as the rows so far suggest, and at most doubles them.
    """
    rows: list[OutboxRow] = []
    signals = 0
    with connection.cursor("pending_batches", row_factory=class_row(OutboxRow)) as cursor:
        cursor.execute(_sql.lock_pending_batches)
        while signals < most_signals:
            room = (most_signals - signals) * len(rows) // max(1, signals)
            fetched = cursor.fetchmany(max(1, min(room, len(rows))))
            if not fetched:
                break
            rows += fetched
            signals += sum(len(row.signal_ids) for row in fetched)
    return rows


def trace_contexts(connection: Connection, rows: Sequence[OutboxRow]) -> list[str]:
    """Some of the different contexts of what stored `rows`, `MOST_CONTEXTS` at most; nobody has checked them.

    Rows that are sent again are left out: what stored them is long over.
    """
    fresh = [row for row in rows if not row.is_resent]
    found = connection.execute(
        _sql.select_trace_contexts,
        {
            "batch_ids": [row.batch_id for row in fresh],
            "tenant_ids": [row.tenant_id for row in fresh],
            "most": MOST_CONTEXTS,
        },
    )
    return [context for (context,) in found]


def read_signals(connection: Connection, rows: Sequence[OutboxRow]) -> Generator[SignalRow, None, None]:
    """Yield the signals of `rows` that still exist, some hundred in memory at a time.

    Close it before the transaction ends: it reads through a cursor of the server's.
    """
    with connection.cursor("batch_signals", row_factory=args_row(SignalRow)) as cursor:
        cursor.itersize = _READ_ROWS
        cursor.execute(
            _sql.read_signals,
            {
                "signal_ids": [signal_id for row in rows for signal_id in row.signal_ids],
                "tenant_ids": list({row.tenant_id for row in rows}),
            },
        )
        yield from cursor


def mark_indexed(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """Note that the index has all documents of `rows`."""
    connection.execute(
        _sql.mark_indexed,
        {"batch_ids": [row.batch_id for row in rows], "tenant_ids": [row.tenant_id for row in rows]},
    )


def put_off(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """Let `rows` wait for a while, longer each time, and others go first."""
    if rows:
        connection.execute(
            _sql.put_off,
            {
                "batch_ids": [row.batch_id for row in rows],
                "tenant_ids": [row.tenant_id for row in rows],
                "pauses": [pause_after(row.attempts) for row in rows],
            },
        )


def due_signals(connection: Connection) -> int:
    """About how many signals are due, counted over at most 1,000 rows; 0 only if none is."""
    row = connection.execute(_sql.estimate_backlog).fetchone()
    return int(row[0]) if row else 0


def pause_after(attempts: int) -> float:
    """How many seconds a row is put off that was put off `attempts` times before: 1, 2, 4 and so on up to 60."""
    return min(2.0 ** min(attempts, 6), _LONGEST_PAUSE_SECONDS)
