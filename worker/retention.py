"""Retention of single tenants, shorter than that of the partitions: what is too old is deleted row by row."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple
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

_BATCH = 2_000
_WAIT_SECONDS = 20.0
_FIRST_KEY = UUID(int=0)

# What was still queued when its like expired came with an older received_at.
_QUEUED = timedelta(days=1)

_sql = Queries("worker", "retention.sql")
_rows_sql = Queries("worker", "erasure.sql")


class _Due(NamedTuple):
    """Tenants with the same retention, and what of theirs is to go: received from `begins` until before `cutoff`."""

    tenant_ids: list[int]
    begins: datetime | None
    cutoff: datetime


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
        for days, tenant_ids, begins in connection.execute(_sql.list_due, {"now": clock()}).fetchall():
            due = _Due(tenant_ids, begins, clock() - timedelta(days=days))
            rows += _expire_rows(connection, due, stop)
            if stop():
                break
            if not RunningTransactions(connection).have_ended(connection, wait_seconds=_WAIT_SECONDS):
                raise DatabaseUnavailableError(
                    "a transaction goes on for long; expired documents wait for it"
                )
            older = {"range": {"received_at": {"lt": rfc3339(due.cutoff)}}}
            documents += sum(remove_documents(connection, client, each, [older]) for each in due.tenant_ids)
            connection.execute(_sql.note_expired, {"tenant_ids": due.tenant_ids, "cutoff": due.cutoff})
    return {"tenant_rows_expired": rows, "tenant_documents_expired": documents}


def _expire_rows(connection: Connection, due: _Due, stop: Callable[[], bool]) -> int:
    expired = 0
    for find, delete in (
        (_sql.find_expired_signals, _rows_sql.delete_signal),
        (_sql.find_expired_events, _rows_sql.delete_event),
    ):
        expired += _expire_walked(connection, due, find, delete, stop)
    rejected: dict[str, Any] = {"tenant_ids": due.tenant_ids, "cutoff": due.cutoff, "most": _BATCH}
    while not stop() and (gone := connection.execute(_sql.delete_expired_rejected, rejected).rowcount):
        expired += gone
    return expired


def _expire_walked(
    connection: Connection, due: _Due, find: LiteralString, delete: LiteralString, stop: Callable[[], bool]
) -> int:
    """Delete what `find` finds, from the oldest to the newest, some rows at a time."""
    expired = 0
    after_at: object = "-infinity" if due.begins is None else due.begins - _QUEUED
    after_id = _FIRST_KEY
    place = {"tenant_ids": due.tenant_ids, "cutoff": due.cutoff, "most": _BATCH}
    while not stop():
        with connection.transaction():
            found = connection.execute(find, place | {"after_at": after_at, "after_id": after_id}).fetchall()
            keys = [{"tenant_id": tenant, "received_at": at, "id": key} for tenant, at, key in found]
            if keys:
                connection.cursor().executemany(delete, keys)
        expired += len(found)
        if len(found) < _BATCH:
            break
        _, after_at, after_id = found[-1]
    return expired
