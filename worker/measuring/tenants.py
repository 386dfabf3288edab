"""The tenants: how many there are, and which ones use most. All of them would be too many series."""

from collections.abc import Mapping
from heapq import nlargest
from typing import cast

from psycopg_pool import ConnectionPool
from redis import Redis

from common.database.queries import Queries
from common.metrics import Metrics
from common.queue.queued_bytes import BYTES_KEY
from common.queue.withheld import WithheldEvents
from common.redis import translated_errors
from worker.measuring.connections import measuring_cursor

SHOWN = 20
"""Tenants that each metric names at most."""

_sql = Queries(__package__, "tenants.sql")


def measure_tenants(pool: ConnectionPool, client: Redis, metrics: Metrics) -> None:
    """Set the metrics of tenants, by their slugs.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away.
        QueueUnavailableError: Redis is away.
    """
    queued = _largest(_queued_bytes(client))
    withheld = _largest(WithheldEvents(client).events())
    with measuring_cursor(pool) as cursor:
        statuses = cursor.execute(_sql.count_tenants).fetchall()
        used = cursor.execute(_sql.list_largest_usage, {"most": SHOWN}).fetchall()
        found = cursor.execute(_sql.list_slugs, {"tenant_ids": [*{*queued, *withheld}]}).fetchall()
    slugs = {row["tenant_id"]: row["slug"] for row in found}
    metrics.replace("sspp_tenants", {(row["status"],): row["tenants"] for row in statuses})
    metrics.replace("sspp_tenant_month_events", {(row["slug"],): row["events"] for row in used})
    limits: dict[tuple[str, ...], float] = {
        (row["slug"],): row["monthly_events"] for row in used if row["monthly_events"] is not None
    }
    metrics.replace("sspp_tenant_month_limit_events", limits)
    for name, by_id in (
        ("sspp_tenant_queued_bytes", queued),
        ("sspp_tenant_withheld_events", withheld),
    ):
        metrics.replace(name, {(slugs[key],): amount for key, amount in by_id.items() if key in slugs})


def _largest(amounts: Mapping[int, int]) -> dict[int, int]:
    return dict(nlargest(SHOWN, amounts.items(), key=lambda item: item[1]))


def _queued_bytes(client: Redis) -> dict[int, int]:
    with translated_errors():
        counts = cast("dict[bytes, bytes]", client.hgetall(BYTES_KEY))
    # Beside the tenants' it holds two sums, under words.
    return {int(field): int(size) for field, size in counts.items() if field.isdigit()}
