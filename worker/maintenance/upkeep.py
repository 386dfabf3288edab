"""Upkeep of the stores: what the maintenance queue runs now and then.

Every function is idempotent, commits in small steps, and may be killed at any point or run several times at
once: the next run carries on where the last one stopped.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
from elasticsearch import Elasticsearch
from psycopg_pool import ConnectionPool

from common.clock import Clock
from common.database.connections import translated_errors
from common.database.data_indexes import build_closed_month_indexes
from common.database.partitions import drop_expired, ensure_partitions, kept_since, month_start
from common.database.queries import Queries
from common.search.indices import drop_indices_before
from common.settings import Settings

_OUTBOX_BATCH = 2_000
_CUSTOMER_BATCH = 2_000
_USAGE_BATCH = 5_000

_sql = Queries("worker.maintenance", "upkeep.sql")


def run_upkeep(
    pool: ConnectionPool, settings: Settings, clock: Clock, *, stop: Callable[[], bool] = lambda: False
) -> dict[str, int]:
    """Do all that is due, the most urgent first; returns how much of what was done.

    The slowest, building indexes, is left to the next run once `stop` says so. Dropping partitions is left to
    `sspp partitions drop` where they are archived before.

    The counts are ``partitions_created``, ``outbox_deleted``, ``partitions_dropped``, ``rows_expired``,
    ``customers_deleted``, ``usage_folded`` and ``indexes_built``.

    Raises:
        DatabaseUnavailableError: the server went away, or others kept a table locked; run again later.
    """
    now = clock()
    with translated_errors(), pool.connection() as connection:
        created = ensure_partitions(connection, now=now, ahead=settings.partitions_ahead)
        outbox = delete_indexed_outbox(connection, now - timedelta(seconds=settings.outbox_keep_seconds))
        months = 0 if settings.archive_url else settings.retention_months
        expired = drop_expired(connection, now=now, retention_months=months)
        customers = delete_customers_of_deleted_tenants(connection, _expired_until(connection, settings, now))
        folded = fold_usage(connection)
        built = build_closed_month_indexes(connection, now, stop=stop)
    return {
        "partitions_created": len(created),
        "outbox_deleted": outbox,
        "partitions_dropped": len(expired.partitions),
        "rows_expired": sum(expired.rows.values()),
        "customers_deleted": customers,
        "usage_folded": folded,
        "indexes_built": len(built),
    }


def drop_expired_indices(
    pool: ConnectionPool, client: Elasticsearch, settings: Settings, clock: Clock
) -> dict[str, int]:
    """Delete the search indices of the months that retention has dropped; returns ``indices_dropped``.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away; run again later.
        SearchUnavailableError: Elasticsearch is away or busy; run again later.
    """
    with translated_errors(), pool.connection() as connection:
        cutoff = _expired_until(connection, settings, clock())
    return {"indices_dropped": len(drop_indices_before(client, cutoff)) if cutoff else 0}


def delete_indexed_outbox(connection: psycopg.Connection[Any], cutoff: datetime) -> int:
    """Delete the outbox rows that were indexed before `cutoff`, some at a time; returns how many.

    Rows that are not indexed yet stay, however old they are, and so do those that a loss of the search server's
    last writes would need (worker/index/marks.py).
    """
    return _delete(connection, _sql.delete_indexed_outbox, cutoff, _OUTBOX_BATCH)


def delete_customers_of_deleted_tenants(connection: psycopg.Connection[Any], cutoff: datetime | None) -> int:
    """Delete the customers of deleted tenants of which retention has left nothing else, some at a time.

    Returns how many.

    Args:
        connection: outside of any transaction.
        cutoff: up to when the platform's own retention has taken everything; None if it keeps all.
    """
    return _delete(connection, _sql.delete_customers_of_deleted_tenants, cutoff, _CUSTOMER_BATCH)


def fold_usage(connection: psycopg.Connection[Any]) -> int:
    """Add what batches counted to the months of their tenants, some at a time; returns how many parts that were."""
    total = 0
    while True:
        with connection.transaction():
            row = connection.execute(_sql.fold_usage, {"batch": _USAGE_BATCH}).fetchone()
        folded: int = row[0] if row else 0
        total += folded
        if folded < _USAGE_BATCH:
            return total


def _delete(
    connection: psycopg.Connection[Any], statement: LiteralString, cutoff: datetime | None, batch: int
) -> int:
    total = 0
    while True:
        with connection.transaction():
            deleted = connection.execute(statement, {"cutoff": cutoff, "batch": batch}).rowcount
        total += deleted
        if deleted < batch:
            return total


def _expired_until(connection: psycopg.Connection[Any], settings: Settings, now: datetime) -> datetime | None:
    """Up to when the platform's retention has taken everything; None if it keeps all."""
    if not settings.retention_months:
        return None
    return kept_since(connection, month_start(now, -settings.retention_months))
