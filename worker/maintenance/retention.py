"""Retention of single tenants, shorter than that of the partitions: what is too old is deleted row by row."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import LiteralString, NamedTuple
from uuid import UUID

from elasticsearch import Elasticsearch
from psycopg_pool import ConnectionPool

from common.clock import Clock, rfc3339
from common.database.connections import translated_errors
from common.database.ddl import Connection, autocommit
from common.database.queries import Queries
from common.database.transactions import RunningTransactions
from common.errors import DatabaseUnavailableError
from common.search.removal import remove_documents

_BATCH = 10_000
_WAIT_SECONDS = 20.0
_EVER = datetime.min.replace(tzinfo=UTC)
_FIRST_KEY = UUID(int=0)

# What was still queued when its time was over is found when its time is looked through once more.
_QUEUED = timedelta(days=1)

_sql = Queries("worker.maintenance", "retention.sql")
_rows_sql = Queries("worker.erasure", "erasure.sql")


class Due(NamedTuple):
    """A tenant, and what of it is to go: received before `cutoff`, of which nothing before `expired_until` is left."""

    tenant_id: int
    cutoff: datetime
    expired_until: datetime | None


def expire_tenants(
    pool: ConnectionPool, client: Elasticsearch, clock: Clock, *, stop: Callable[[], bool] = lambda: False
) -> dict[str, int]:
    """Delete signals, events, refusals and documents that are older than their tenant's ``retention_days``.

    Identities and customers stay, as with the partitions' retention; an event that is sent again is a duplicate for as
    long as the platform's own retention keeps its identity. Commits in small steps, and may be killed at any point: the
    next run carries on. Once `stop` says so, the rest is left to that.

    Returns:
        ``tenant_rows_expired`` and ``tenant_documents_expired``.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away, or a transaction goes on for long; run again later.
        SearchUnavailableError: Elasticsearch is away or busy; run again later.
    """
    rows = documents = 0
    with translated_errors(), pool.connection() as connection, autocommit(connection):
        due = [Due(*row) for row in connection.execute(_sql.list_due, {"now": clock()})]
        if due:
            rows = _expire_rows(connection, due, stop)
            running = RunningTransactions(connection)
            if not stop() and not running.have_ended(connection, wait_seconds=_WAIT_SECONDS):
                raise DatabaseUnavailableError(
                    "a transaction goes on for long; expired documents wait for it"
                )
        for each in due:
            if stop():
                break
            older = {"range": {"received_at": {"lt": rfc3339(each.cutoff)}}}
            documents += remove_documents(connection, client, each.tenant_id, [older]).total()
            connection.execute(_sql.note_expired, {"tenant_id": each.tenant_id, "cutoff": each.cutoff})
    return {"tenant_rows_expired": rows, "tenant_documents_expired": documents}


def spans_to_look_through(due: Sequence[Due]) -> list[tuple[datetime, datetime]]:
    """Where in the log there may be something to delete: from each first instant until before the second.

    Of each tenant it is what became too old since the last time, and once more what did so a day earlier. What tenants
    have in common is there once: however many of them there are, nothing is looked at twice in one run.
    """
    spans = []
    for each in due:
        if each.expired_until is None:
            spans.append((_EVER, each.cutoff))
        else:
            spans.append((each.expired_until, each.cutoff))
            spans.append((each.expired_until - _QUEUED, each.cutoff - _QUEUED))
    merged: list[tuple[datetime, datetime]] = []
    for begins, ends in sorted(spans):
        if merged and begins <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ends))
        else:
            merged.append((begins, ends))
    return merged


def _expire_rows(connection: Connection, due: Sequence[Due], stop: Callable[[], bool]) -> int:
    wanted = {
        "tenant_ids": [each.tenant_id for each in due],
        "cutoffs": [each.cutoff for each in due],
        "most": _BATCH,
    }
    expired = 0
    for find, delete in (
        (_sql.find_expired_signals, _rows_sql.delete_signal),
        (_sql.find_expired_events, _rows_sql.delete_event),
    ):
        for begins, ends in spans_to_look_through(due):
            place: Mapping[str, object] = {"after_at": begins, "after_id": _FIRST_KEY}
            while place and not stop():
                place, count = _expire_page(connection, find, delete, {**wanted, **place, "ends": ends})
                expired += count
    while not stop() and (gone := connection.execute(_sql.delete_expired_rejected, wanted).rowcount):
        expired += gone
    return expired


def _expire_page(
    connection: Connection, find: LiteralString, delete: LiteralString, page: Mapping[str, object]
) -> tuple[Mapping[str, object], int]:
    """Delete what is expired in one page: where the next one begins, empty after the last, and how much it was."""
    with connection.transaction():
        found = connection.execute(find, page).fetchall()
        keys = [
            {"tenant_id": tenant_id, "received_at": received_at, "id": key}
            for *_, tenant_id, received_at, key in found
            if tenant_id is not None
        ]
        if keys:
            connection.cursor().executemany(delete, keys)
    return ({"after_at": found[-1][0], "after_id": found[-1][1]} if found else {}), len(keys)
