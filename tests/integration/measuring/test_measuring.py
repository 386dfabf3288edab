"""What a maintenance worker measures, on real stores."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event, Semaphore
from time import monotonic
from typing import Any

import psycopg
import pytest
from api_store import ApiStore
from elasticsearch import Elasticsearch
from psycopg_pool import ConnectionPool
from redis import Redis

from common.clock import rfc3339, system_clock
from common.database.connections import open_pool
from common.database.partitions import TABLES, ensure_partitions, month_start
from common.database.queries import Queries
from common.errors import DatabaseUnavailableError, SearchUnavailableError
from common.metrics import Metrics
from common.queue.queued_bytes import BYTES_KEY
from common.queue.streams import WITHHELD_KEY
from common.search.client import open_client
from common.search.template import ALIAS, ensure_template, index_name
from worker.measuring.comparison import compare_index
from worker.measuring.connections import measuring_cursor
from worker.measuring.database import measure_activity, measure_sizes
from worker.measuring.disks import measure_disks
from worker.measuring.measuring import Measurement, Measuring, run
from worker.measuring.queue import measure_redis
from worker.measuring.search import measure_search
from worker.measuring.tenants import SHOWN, measure_tenants

NOW = system_clock()
EARLIER = NOW - timedelta(minutes=10)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def search(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with closing(open_client(elasticsearch_url)) as search:
        yield search


@pytest.fixture
def index(search: Elasticsearch) -> str:
    """The month's index, empty and serving."""
    ensure_template(search)
    name = index_name(EARLIER)
    search.indices.create(index=name, aliases={ALIAS: {}})
    return name


def shown(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def labels_of(metrics: Metrics, name: str) -> set[str]:
    """The values of the only label of `name`."""
    return {
        value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
        for value in sample.labels.values()
    }


def write(search: Elasticsearch, index: str, signal_id: object, received_at: datetime = EARLIER) -> None:
    document = {"signal_id": str(signal_id), "tenant_id": "7", "received_at": rfc3339(received_at)}
    search.index(index=index, id=str(signal_id), document=document)


def test_connections_and_counters_are_those_of_the_server(
    pool: ConnectionPool, api_store: ApiStore, metrics: Metrics, until: Any
) -> None:
    [(limit,)] = api_store.execute("SELECT current_setting('max_connections')::integer")
    for number in range(5):
        api_store.tenant(f"t{number}")

    def counted() -> bool:
        measure_activity(pool, metrics)  # sessions tell the server what they did about once a second
        return (shown(metrics, "sspp_database_rows_total", operation="insert") or 0) >= 5

    until(counted, timeout=30)
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
        waiting.result(30)


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


def test_index_and_signals_that_agree_differ_by_nothing(
    pool: ConnectionPool, api_store: ApiStore, search: Elasticsearch, index: str, metrics: Metrics
) -> None:
    write(search, index, api_store.event(7, "e1", received_at=EARLIER))

    compare_index(pool, search, metrics)

    assert shown(metrics, "sspp_index_missing_signals") == 0
    assert shown(metrics, "sspp_index_orphan_documents") == 0


def test_a_signal_that_the_index_lacks_is_missing(
    pool: ConnectionPool, api_store: ApiStore, search: Elasticsearch, index: str, metrics: Metrics
) -> None:
    write(search, index, api_store.event(7, "e1", received_at=EARLIER))
    api_store.event(7, "e2", received_at=EARLIER)

    compare_index(pool, search, metrics)

    assert shown(metrics, "sspp_index_missing_signals") == 1
    assert shown(metrics, "sspp_index_orphan_documents") == 0


def test_what_is_still_to_be_indexed_or_was_refused_is_not_missing(
    pool: ConnectionPool, api_store: ApiStore, search: Elasticsearch, index: str, metrics: Metrics
) -> None:
    refused = api_store.event(7, "refused", received_at=EARLIER)
    api_store.execute("INSERT INTO index_failures VALUES (%s, 7, now(), 400, 'no')", (refused,))
    waiting = api_store.event(7, "waiting", received_at=EARLIER + timedelta(minutes=5))
    api_store.execute(
        "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until)"
        " VALUES (1, 7, %s, %s, %s)",
        ([waiting], EARLIER + timedelta(minutes=5), EARLIER + timedelta(minutes=5)),
    )
    api_store.event(7, "new", received_at=NOW)

    compare_index(pool, search, metrics)

    assert shown(metrics, "sspp_index_missing_signals") == 0
    measure_sizes(pool, metrics, lambda: NOW)
    assert shown(metrics, "sspp_index_refused_documents") == 1


def test_a_document_without_a_signal_is_an_orphan(
    pool: ConnectionPool, api_store: ApiStore, search: Elasticsearch, index: str, metrics: Metrics
) -> None:
    write(search, index, api_store.event(7, "e1", received_at=EARLIER))
    write(search, index, "00000000-0000-7000-8000-000000000001")

    compare_index(pool, search, metrics)

    assert shown(metrics, "sspp_index_missing_signals") == 0
    assert shown(metrics, "sspp_index_orphan_documents") == 1


def test_only_the_newest_signals_are_compared_where_there_are_very_many(
    pool: ConnectionPool, api_store: ApiStore, search: Elasticsearch, index: str, metrics: Metrics
) -> None:
    for number in range(6):  # all but the newest two are missing
        signal = api_store.event(7, f"e{number}", received_at=EARLIER + timedelta(seconds=number))
        if number >= 4:
            write(search, index, signal, EARLIER + timedelta(seconds=number))

    compare_index(pool, search, metrics, most=2)
    assert shown(metrics, "sspp_index_missing_signals") == 0
    assert shown(metrics, "sspp_index_orphan_documents") == 0

    compare_index(pool, search, metrics, most=4)
    assert shown(metrics, "sspp_index_missing_signals") == 2


def test_finding_the_newest_signals_sorts_none_though_no_statistics_tell_of_them(
    pool: ConnectionPool, api_store: ApiStore
) -> None:
    api_store.execute(
        "INSERT INTO signals SELECT gen_random_uuid(), %s::timestamptz - n * interval '1 s', 7, n, 'purchase', 'c',"
        " 'revenue', 1, now(), NULL, NULL, NULL, '{}' FROM generate_series(1, 5000) AS n",
        (EARLIER,),
    )
    find_span = Queries("worker.measuring", "database.sql").find_span

    with measuring_cursor(pool) as cursor:
        cursor.execute(f"EXPLAIN {find_span}", {"until": NOW, "most": 1000})
        plan = [line["QUERY PLAN"] for line in cursor.fetchall()]

    assert [line for line in plan if "Index" in line and "Scan Backward" in line], plan
    assert [line for line in plan if "->  Sort" in line] == []


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


def test_the_search_server_shows_health_and_indices(
    search: Elasticsearch, index: str, metrics: Metrics
) -> None:
    write(search, index, "00000000-0000-7000-8000-000000000001")
    search.indices.refresh(index=index)

    measure_search(search, metrics)

    statuses = {shown(metrics, "sspp_search_health", status=status) for status in ("green", "yellow")}
    assert statuses == {0, 1}
    assert shown(metrics, "sspp_search_health", status="red") == 0
    assert shown(metrics, "sspp_search_documents", index=index) == 1
    search.indices.delete(index=index)
    measure_search(search, metrics)
    assert labels_of(metrics, "sspp_search_documents") == set()


def test_redis_shows_its_memory_and_who_listens(client: Redis, metrics: Metrics) -> None:
    measure_redis(client, metrics)

    assert (shown(metrics, "sspp_redis_memory_bytes") or 0) > 0
    assert shown(metrics, "sspp_redis_memory_limit_bytes") is not None
    assert {
        queue: shown(metrics, "sspp_workers", queue=queue) for queue in ("ingest", "index", "maintenance")
    } == {
        "ingest": 0,
        "index": 0,
        "maintenance": 0,
    }


def test_the_largest_tenants_show_and_leave_when_others_are_larger(
    pool: ConnectionPool, client: Redis, api_store: ApiStore, metrics: Metrics
) -> None:
    ids = [api_store.tenant(f"t{number}") for number in range(SHOWN + 1)]
    for number, tenant_id in enumerate(ids):
        api_store.execute(
            "INSERT INTO usage VALUES (%s, date_trunc('month', now() AT TIME ZONE 'UTC'), %s)",
            (tenant_id, number),
        )
    api_store.execute(
        "INSERT INTO usage_parts VALUES (%s, date_trunc('month', now() AT TIME ZONE 'UTC'), 1, 5)", (ids[1],)
    )
    api_store.execute("UPDATE tenants SET plan = 'trial' WHERE tenant_id = %s", (ids[1],))
    client.hset(BYTES_KEY, mapping={str(ids[3]): 300, "total": 300, "drained": 9})
    client.hset(WITHHELD_KEY, str(ids[4]), 12)

    measure_tenants(pool, client, metrics)

    assert labels_of(metrics, "sspp_tenant_month_events") == {f"t{number}" for number in range(1, SHOWN + 1)}
    assert shown(metrics, "sspp_tenant_month_events", tenant="t1") == 6
    assert shown(metrics, "sspp_tenant_month_limit_events", tenant="t1") == 100_000
    assert labels_of(metrics, "sspp_tenant_month_limit_events") == {"t1"}
    assert shown(metrics, "sspp_tenant_queued_bytes", tenant="t3") == 300
    assert shown(metrics, "sspp_tenant_withheld_events", tenant="t4") == 12
    assert (shown(metrics, "sspp_tenants", status="active") or 0) >= SHOWN + 1

    client.delete(BYTES_KEY, WITHHELD_KEY)
    api_store.execute("UPDATE usage SET events = 100 WHERE tenant_id = %s", (ids[0],))
    measure_tenants(pool, client, metrics)
    assert labels_of(metrics, "sspp_tenant_queued_bytes") == set()
    assert shown(metrics, "sspp_tenant_month_events", tenant="t2") is None


def test_a_disk_shows_its_room_and_a_missing_one_hides_no_other(tmp_path: Path, metrics: Metrics) -> None:
    measure_disks(f"{tmp_path}, {tmp_path}/nowhere", metrics)

    free = shown(metrics, "sspp_disk_free_bytes", path=str(tmp_path))
    size = shown(metrics, "sspp_disk_size_bytes", path=str(tmp_path))
    assert free is not None
    assert size is not None
    assert 0 < free < size
    assert labels_of(metrics, "sspp_disk_size_bytes") == {str(tmp_path)}


def test_a_store_that_is_away_is_down_and_keeps_what_it_showed(
    pool: ConnectionPool, unserved_port: int, metrics: Metrics
) -> None:
    measurement = Measurement("database", 1, lambda: measure_activity(pool, metrics), "postgresql")
    run(measurement, metrics)
    assert shown(metrics, "sspp_store_up", store="postgresql") == 1
    limit = shown(metrics, "sspp_database_connections_limit")

    with open_pool(f"postgresql://127.0.0.1:{unserved_port}/sspp", application="test") as away:
        with pytest.raises(DatabaseUnavailableError):
            measure_activity(away, metrics)
        run(Measurement("database", 1, lambda: measure_activity(away, metrics), "postgresql"), metrics)

    assert shown(metrics, "sspp_store_up", store="postgresql") == 0
    assert shown(metrics, "sspp_database_connections_limit") == limit


def test_a_search_server_that_is_away_is_told_as_such(unserved_port: int, metrics: Metrics) -> None:
    with (
        closing(open_client(f"http://127.0.0.1:{unserved_port}")) as away,
        pytest.raises(SearchUnavailableError),
    ):
        measure_search(away, metrics)


def test_a_failure_shows_by_when_it_last_succeeded(metrics: Metrics) -> None:
    last_success = "sspp_measurement_last_success_timestamp_seconds"
    failing = Measurement("index", 1, partial(next, iter(["measured"])))

    with Measuring([failing], metrics):
        pass
    assert shown(metrics, last_success, measurement="index") is not None

    run(failing, metrics)
    succeeded = shown(metrics, last_success, measurement="index")
    run(failing, metrics)
    assert shown(metrics, last_success, measurement="index") == succeeded
    assert shown(metrics, "sspp_measurement_seconds", measurement="index") is not None


def test_what_never_succeeded_shows_from_the_start(metrics: Metrics) -> None:
    Measuring([Measurement("index", 1, lambda: None)], metrics)

    assert shown(metrics, "sspp_measurement_last_success_timestamp_seconds", measurement="index") == 0


def test_a_measurement_that_hangs_holds_up_no_worker_that_ends(metrics: Metrics) -> None:
    began, released = Event(), Event()

    def hang() -> None:
        began.set()
        released.wait(60)

    try:
        with Measuring([Measurement("hangs", 1, hang)], metrics):
            assert began.wait(30)
            ends = monotonic()
        assert monotonic() - ends < 30
    finally:
        released.set()


def test_each_is_measured_again_when_it_is_due_whatever_the_others_do(metrics: Metrics) -> None:
    rounds = Semaphore(0)

    with Measuring(
        [
            Measurement("fails", 0, partial(next, iter([]))),
            Measurement("often", 0, rounds.release),
            Measurement("seldom", 3600, Semaphore(0).release),
        ],
        metrics,
    ):
        for _ in range(2):
            assert rounds.acquire(timeout=30)


def test_a_surprise_ends_nothing(metrics: Metrics) -> None:
    def surprise() -> None:
        raise ZeroDivisionError

    run(Measurement("surprise", 1, surprise, "redis"), metrics)

    assert shown(metrics, "sspp_store_up", store="redis") == 0
