"""PostgreSQL: what it does and holds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import Cursor
from psycopg_pool import ConnectionPool

from common.clock import Clock
from common.database.ddl import format_ddl
from common.database.partitions import TABLES, Partition, list_partitions, month_start
from common.database.queries import Queries
from common.metrics import Metrics
from worker.measuring.connections import measuring_cursor

COUNTED = 100_000
"""How far is counted what should be few: DEFAULT partitions hold nothing, and documents are hardly ever refused."""

_sql = Queries(__package__, "database.sql")


def measure_activity(pool: ConnectionPool, metrics: Metrics) -> None:
    """Set the metrics of connections, transactions, rows, blocks and locks.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away.
    """
    with measuring_cursor(pool) as cursor:
        read = cursor.execute(_sql.read_activity).fetchone()
        states = cursor.execute(_sql.count_connections).fetchall()
    if read is None:
        return
    metrics.replace("sspp_database_connections", {(row["state"],): row["connections"] for row in states})
    metrics.set("sspp_database_connections_limit", read["connections_limit"])
    metrics.set("sspp_database_locks_awaited", read["locks_awaited"])
    metrics.set("sspp_database_oldest_transaction_seconds", read["oldest_transaction_seconds"])
    metrics.follow("sspp_database_transactions_total", read["xact_commit"], outcome="commit")
    metrics.follow("sspp_database_transactions_total", read["xact_rollback"], outcome="rollback")
    metrics.follow("sspp_database_blocks_total", read["blks_hit"], source="cache")
    metrics.follow("sspp_database_blocks_total", read["blks_read"], source="disk")
    for operation, column in (
        ("insert", "tup_inserted"),
        ("update", "tup_updated"),
        ("delete", "tup_deleted"),
    ):
        metrics.follow("sspp_database_rows_total", read[column], operation=operation)
    metrics.follow("sspp_database_deadlocks_total", read["deadlocks"])
    metrics.follow("sspp_database_temporary_bytes_total", read["temp_bytes"])


def measure_sizes(pool: ConnectionPool, metrics: Metrics, clock: Clock, *, counted: int = COUNTED) -> None:
    """Set the metrics of sizes, partitions and refused documents.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away, or slow.
    """
    with measuring_cursor(pool, seconds=20) as cursor:
        size = cursor.execute(_sql.read_database_size).fetchone()
        tables = cursor.execute(_sql.list_table_sizes).fetchall()
        refused = cursor.execute(_sql.count_refused_documents, {"most": counted}).fetchone()
        partitions = list_partitions(cursor.connection)
        strays = {table: _count_default_rows(cursor, table, counted) for table in TABLES}
    assert size is not None and refused is not None  # noqa: PT018  # aggregates: a row each
    metrics.set("sspp_database_bytes", size["bytes"])
    metrics.replace("sspp_table_bytes", {(row["table_name"],): row["bytes"] for row in tables})
    metrics.set("sspp_index_refused_documents", refused["documents"])
    for table in TABLES:
        metrics.set("sspp_partition_months_ahead", months_ahead(partitions, table, clock()), table=table)
        metrics.set("sspp_default_partition_rows", strays[table], table=table)


def _count_default_rows(cursor: Cursor[dict[str, Any]], table: str, most: int) -> int:
    statement = format_ddl(_sql.count_default_rows, default_table=f"{table}_default")
    row = cursor.execute(statement, {"most": most}).fetchone()
    assert row is not None
    return int(row["strays"])


def months_ahead(partitions: Sequence[Partition], table: str, now: datetime) -> int:
    """How many months `table` has partitions for, from the one after that of `now` on and without a gap."""
    months = {partition.starts for partition in partitions if partition.table == table}
    ahead = 0
    while month_start(now, ahead + 1) in months:
        ahead += 1
    return ahead
