"""Whether the index has what PostgreSQL has: a count of the last day, or of as much of it as is cheap to count.

It is an alarm and no proof, as what is missing may hide what is too much. `sspp verify` compares signal by signal.
"""

from typing import Any, LiteralString

from elasticsearch import Elasticsearch
from psycopg_pool import ConnectionPool

from common.clock import rfc3339
from common.database.queries import Queries
from common.metrics import Metrics
from common.search.client import translated_errors
from common.search.indices import refresh
from common.search.template import ALIAS
from worker.measuring.connections import measuring_cursor

_PATIENCE_SECONDS = 15
MOST_SIGNALS = 1_000_000
"""Signals that are compared at most, the newest."""

_sql = Queries(__package__, "database.sql")


def compare_index(
    pool: ConnectionPool, client: Elasticsearch, metrics: Metrics, *, most: int = MOST_SIGNALS
) -> None:
    """Set the metrics of signals that the index misses, and of documents without a signal.

    PostgreSQL counts before and after the index does: what is stored or erased meanwhile is no difference.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away, or slow.
        SearchUnavailableError: Elasticsearch is away or busy.
    """
    until = _read(pool, _sql.find_settled, {})
    span = until | _read(pool, _sql.find_span, until | {"most": most})
    before = _read(pool, _sql.count_settled_signals, span)
    documents = _count_documents(client, span)
    after = _read(pool, _sql.count_signals, span)
    metrics.set("sspp_index_missing_signals", max(0, before["signals"] - documents))
    metrics.set("sspp_index_orphan_documents", max(0, documents - after["signals"]))


def _read(pool: ConnectionPool, statement: LiteralString, values: dict[str, Any]) -> dict[str, Any]:
    with measuring_cursor(pool, seconds=_PATIENCE_SECONDS) as cursor:
        row = cursor.execute(statement, values).fetchone()
    assert row is not None
    return row


@translated_errors()
def _count_documents(client: Elasticsearch, span: dict[str, Any]) -> int:
    client = client.options(request_timeout=_PATIENCE_SECONDS)
    refresh(client)
    received = {"gte": rfc3339(span["since"]), "lt": rfc3339(span["until"])}
    found = client.count(
        index=ALIAS,
        query={"range": {"received_at": received}},
        ignore_unavailable=True,
        allow_no_indices=True,
    )
    return int(found["count"])
