"""Signals whose documents Elasticsearch refuses for their content: named in `index_failures` until one is taken."""

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from common.database.queries import Queries
from common.search.bulk import Failure

_sql = Queries(__package__, "failures.sql")


def record_failures(
    connection: psycopg.Connection[Any], refused: Mapping[str, Failure], tenants: Mapping[str, int]
) -> None:
    """Record why each of `refused`, by signal id, was refused; `tenants` says whose signals they are."""
    if not refused:
        return
    # In one order, so that two who record the same wait for each other and never deadlock.
    failures = sorted(refused.items())
    connection.execute(
        _sql.record_failures,
        {
            "signal_ids": [signal_id for signal_id, _ in failures],
            "tenant_ids": [tenants[signal_id] for signal_id, _ in failures],
            "statuses": [failure.status for _, failure in failures],
            "reasons": [failure.reason for _, failure in failures],
        },
    )


def forget_failures(
    connection: psycopg.Connection[Any], signal_ids: Iterable[str], tenant_ids: Iterable[int]
) -> None:
    """Forget what was recorded of these signals, which belong to these tenants: the index has them now."""
    connection.execute(
        _sql.forget_failures, {"signal_ids": list(signal_ids), "tenant_ids": list(set(tenant_ids))}
    )
