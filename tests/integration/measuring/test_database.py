"""PostgreSQL, as a maintenance worker measures it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from api_store import ApiStore
from measured import NOW, labels_of, shown
from patience import PATIENCE_SECONDS
from psycopg_pool import ConnectionPool

from common.database.partitions import TABLES, ensure_partitions, month_start
from common.errors import DatabaseUnavailableError
from common.metrics import Metrics
from worker.measuring.connections import measuring_cursor
from worker.measuring.database import measure_activity, measure_sizes


def test_connections_and_counters_are_those_of_the_server(
    pool: ConnectionPool, api_store: ApiStore, metrics: Metrics, until: Any
) -> None:
    [(limit,)] = api_store.execute("SELECT current_setting('max_connections')::integer")
    for number in range(5):
        api_store.tenant(f"t{number}")

    def counted() -> bool:
        measure_activity(pool, metrics)  # sessions tell the server what they did about once a second
        return (shown(metrics, "sspp_database_rows_total", operation="insert") or 0) >= 5

    until(counted)
    assert shown(metrics, "sspp_database_connections_limit") == limit
    assert (shown(metrics, "sspp_database_connections", state="active") or 0) >= 1
    assert (shown(metrics, "sspp_database_transactions_total", outcome="commit") or 0) >= 5


def test_an_open_transaction_and_who_waits_for_it_show(
    pool: ConnectionPool, database_url: str, metrics: Metrics, until: Any
) -> None:
    def wait() -> None:
        with psycopg.connect(database_url) as waiter:
            waiter.execute("LOCK TABLE tenants")

    with ThreadPoolExecutor() as threads:
        with psycopg.connect(database_url) as holder:
            holder.execute("LOCK TABLE tenants")
            waiting = threads.submit(wait)

            def seen() -> bool:
                measure_activity(pool, metrics)
                return (shown(metrics, "sspp_database_locks_awaited") or 0) >= 1

            until(seen)
            assert (shown(metrics, "sspp_database_oldest_transaction_seconds") or 0) > 0
        waiting.result(PATIENCE_SECONDS)


def test_months_ahead_are_counted_up_to_the_first_gap(
    pool: ConnectionPool, connection: psycopg.Connection[Any], metrics: Metrics
) -> None:
    ensure_partitions(connection, now=NOW, ahead=4)
    gap = month_start(NOW, 3)
    connection.execute(f"DROP TABLE events_{gap:%Y_%m}")

    measure_sizes(pool, metrics, lambda: NOW)

    assert shown(metrics, "sspp_partition_months_ahead", table="events") == 2
    assert shown(metrics, "sspp_partition_months_ahead", table="signals") == 4
    assert shown(metrics, "sspp_default_partition_rows", table="events") == 0
    assert labels_of(metrics, "sspp_partition_months_ahead") == set(TABLES)


def test_rows_without_a_partition_show(pool: ConnectionPool, api_store: ApiStore, metrics: Metrics) -> None:
    api_store.event(7, "stray", received_at=datetime(2031, 5, 1, tzinfo=UTC))

    measure_sizes(pool, metrics, lambda: NOW)

    assert shown(metrics, "sspp_default_partition_rows", table="events") == 1
    assert shown(metrics, "sspp_default_partition_rows", table="signals") == 1


def test_a_table_counts_with_its_partitions(
    pool: ConnectionPool, connection: psycopg.Connection[Any], metrics: Metrics
) -> None:
    ensure_partitions(connection, now=NOW, ahead=1)
    (size,) = connection.execute(
        "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('events')"
    ).fetchone() or (0,)

    measure_sizes(pool, metrics, lambda: NOW)

    assert shown(metrics, "sspp_table_bytes", table="events") == size > 0
    assert not any(name.startswith("events_2") for name in labels_of(metrics, "sspp_table_bytes"))
    assert (shown(metrics, "sspp_database_bytes") or 0) > float(size)


def test_what_should_be_few_is_not_counted_without_end(
    pool: ConnectionPool, api_store: ApiStore, metrics: Metrics
) -> None:
    for number in range(5):
        signal = api_store.event(7, f"e{number}", received_at=datetime(2031, 5, 1, tzinfo=UTC))
        api_store.execute("INSERT INTO index_failures VALUES (%s, 7, now(), 400, 'no')", (signal,))

    measure_sizes(pool, metrics, lambda: NOW, counted=3)

    assert shown(metrics, "sspp_default_partition_rows", table="events") == 3
    assert shown(metrics, "sspp_index_refused_documents") == 3


def test_measuring_can_write_nothing(pool: ConnectionPool) -> None:
    with pytest.raises(DatabaseUnavailableError) as raised, measuring_cursor(pool) as cursor:
        cursor.execute("DELETE FROM tenants")
    assert isinstance(raised.value.__cause__, psycopg.errors.ReadOnlySqlTransaction)
    with pool.connection() as connection:
        assert connection.execute("SHOW transaction_read_only").fetchone() == ("off",)
