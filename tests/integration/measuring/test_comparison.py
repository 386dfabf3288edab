"""Whether the index has what PostgreSQL has."""

from datetime import timedelta

from api_store import ApiStore
from elasticsearch import Elasticsearch
from measured import EARLIER, NOW, shown, write
from psycopg_pool import ConnectionPool

from common.database.queries import Queries
from common.metrics import Metrics
from worker.measuring.comparison import compare_index
from worker.measuring.connections import measuring_cursor
from worker.measuring.database import measure_sizes


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
