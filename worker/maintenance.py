"""Upkeep of the stores: what the maintenance queue runs now and then.

Every function is idempotent, commits in small steps, and may be killed at any point or run several times at
once: the next run carries on where the last one stopped.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
from elasticsearch import Elasticsearch
from psycopg_pool import ConnectionPool

from common.clock import Clock
from common.database.connections import translated_errors
from common.database.data_indexes import build_closed_month_indexes
from common.database.partitions import drop_expired, ensure_partitions, month_start
from common.database.queries import Queries
from common.search.indices import drop_indices_before
from common.settings import Settings

_OUTBOX_BATCH = 2_000
_USAGE_BATCH = 5_000

_sql = Queries(__package__, "maintenance.sql")


def run_upkeep(
    pool: ConnectionPool, settings: Settings, clock: Clock, *, stop: Callable[[], bool] = lambda: False
) -> dict[str, int]:
    """Do all that is due, the most urgent first; returns how much of what was done.

    The slowest, building indexes, is left to the next run once `stop` says so.

    The counts are ``partitions_created``, ``outbox_deleted``, ``partitions_dropped``, ``rows_expired``,
    ``usage_folded`` and ``indexes_built``.

    Raises:
        DatabaseUnavailableError: the server went away, or others kept a table locked; run again later.
    """
    now = clock()
    with translated_errors(), pool.connection() as connection:
        created = ensure_partitions(connection, now=now, ahead=settings.partitions_ahead)
        outbox = delete_indexed_outbox(connection, now - timedelta(seconds=settings.outbox_keep_seconds))
        expired = drop_expired(connection, now=now, retention_months=settings.retention_months)
        folded = fold_usage(connection)
        built = build_closed_month_indexes(connection, now, stop=stop)
    return {
        "partitions_created": len(created),
        "outbox_deleted": outbox,
        "partitions_dropped": len(expired.partitions),
        "rows_expired": sum(expired.rows.values()),
        "usage_folded": folded,
        "indexes_built": len(built),
    }


def drop_expired_indices(client: Elasticsearch, settings: Settings, clock: Clock) -> dict[str, int]:
    """Delete the search indices of the months that retention drops; returns ``indices_dropped``.

    Raises:
        SearchUnavailableError: Elasticsearch is away or busy; run again later.
    """
    if settings.retention_months == 0:
        return {"indices_dropped": 0}
    cutoff = month_start(clock(), -settings.retention_months)
    return {"indices_dropped": len(drop_indices_before(client, cutoff))}


def delete_indexed_outbox(connection: psycopg.Connection[Any], cutoff: datetime) -> int:
    """Delete the outbox rows that were indexed before `cutoff`, some at a time; returns how many.

    Rows that are not indexed yet stay, however old they are, and so do those that a loss of the search server's
    last writes would need (worker/index_marks.py).
    """
    deleted = 0
    while True:
        with connection.transaction():
            cursor = connection.execute(
                _sql.delete_indexed_outbox, {"cutoff": cutoff, "batch": _OUTBOX_BATCH}
            )
        deleted += cursor.rowcount
        if cursor.rowcount < _OUTBOX_BATCH:
            return deleted


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
