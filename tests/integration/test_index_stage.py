"""The index stage over a real PostgreSQL and a real search server."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from elastic_transport import Urllib3HttpNode
from elasticsearch import Elasticsearch
from psycopg_pool import ConnectionPool
from structlog.testing import capture_logs

from common.database.queries import Queries
from common.envelope import event_key, signal_id
from common.errors import SearchUnavailableError
from common.metrics import Metrics
from common.search.client import open_client
from common.search.template import ALIAS, TEMPLATE, ensure_template, index_name
from common.settings import Settings
from worker.index import IndexStage
from worker.outbox import lock_due_rows, pause_after

RECEIVED = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
LOCKED_MONTH = datetime(2026, 10, 3, tzinfo=UTC)
LAG_SECONDS = 2.0


@pytest.fixture
def client(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with open_client(elasticsearch_url) as client:
        yield client


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def make_stage(pool: ConnectionPool, client: Elasticsearch, metrics: Metrics) -> Callable[..., IndexStage]:
    def make(client: Elasticsearch = client, **changes: Any) -> IndexStage:
        urls = dict.fromkeys(["database_url", "redis_url", "elasticsearch_url"], "unused:")
        settings = Settings.model_validate(urls | changes)
        return IndexStage(pool, client, metrics, settings, lambda: RECEIVED + timedelta(seconds=LAG_SECONDS))

    return make


@pytest.fixture
def stage(make_stage: Callable[..., IndexStage]) -> IndexStage:
    return make_stage()


def store(
    pool: ConnectionPool,
    batch_id: int,
    count: int,
    *,
    tenant_id: int = 1,
    received_at: datetime = RECEIVED,
    customer_id: str = "c-1",
) -> list[str]:
    """Store a batch of `count` signals with its outbox row, as the ingest stage does; returns their ids."""
    ids = [signal_id(event_key(tenant_id, f"{batch_id}-{n}"), 0) for n in range(count)]
    data = json.dumps({"amount": 9.90, "note": "blue bicycle"})
    with pool.connection() as connection:
        connection.cursor().executemany(
            "INSERT INTO signals VALUES (%s, %s, %s, %s, 'purchase', %s, 'revenue', 0.9, %s, NULL, 9.90, 'USD', %s)",
            [
                (each, received_at, tenant_id, f"{batch_id}-{n}", customer_id, RECEIVED, data)
                for n, each in enumerate(ids)
            ],
        )
        connection.execute(
            "INSERT INTO event_keys SELECT event_key_of(signal_id), tenant_id, received_at FROM signals"
            " WHERE signal_id = ANY (%s)",
            (ids,),
        )
        connection.execute(
            "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until)"
            " VALUES (%s, %s, %s, %s, %s)",
            (batch_id, tenant_id, ids, received_at, received_at),
        )
    return [str(each) for each in ids]


def pending(pool: ConnectionPool) -> list[int]:
    with pool.connection() as connection:
        rows = connection.execute(
            "SELECT batch_id FROM outbox WHERE indexed_at IS NULL ORDER BY 1"
        ).fetchall()
    return [batch_id for (batch_id,) in rows]


def put_off(pool: ConnectionPool) -> dict[int, int]:
    """How often each batch was put off; those that never were are left out."""
    with pool.connection() as connection:
        return dict(
            connection.execute(
                "SELECT batch_id, attempts FROM outbox WHERE put_off_until IS NOT NULL ORDER BY 1"
            ).fetchall()
        )


def set_due(pool: ConnectionPool, interval: str) -> None:
    """Make what was put off due in `interval` from now."""
    with pool.connection() as connection:
        connection.execute(
            "UPDATE outbox SET put_off_until = now() + %s::interval WHERE put_off_until IS NOT NULL",
            (interval,),
        )


def failures(pool: ConnectionPool) -> list[tuple[Any, ...]]:
    with pool.connection() as connection:
        return connection.execute(
            "SELECT signal_id::text, tenant_id, status, reason FROM index_failures ORDER BY 1"
        ).fetchall()


def indexed(client: Elasticsearch) -> dict[str, dict[str, Any]]:
    client.indices.refresh(index=ALIAS)
    hits = client.search(index=ALIAS, query={"match_all": {}}, size=1000)["hits"]["hits"]
    return {hit["_id"]: hit for hit in hits}


def test_every_pending_signal_is_indexed_and_its_row_marked(
    pool: ConnectionPool, client: Elasticsearch, stage: IndexStage, metrics: Metrics
) -> None:
    ids = store(pool, 1, 3) + store(pool, 2, 2, tenant_id=2) + store(pool, 2, 1, tenant_id=1)
    assert stage.backlog() > 0

    assert stage.step(0) == 6

    assert set(indexed(client)) == set(ids)
    assert pending(pool) == []
    assert stage.backlog() == 0
    sample = metrics.registry.get_sample_value
    assert sample("sspp_signals_indexed_total") == 6
    assert sample("sspp_index_lag_seconds_sum") == 6 * LAG_SECONDS


def test_what_a_drain_wrote_is_found_when_it_ends(
    pool: ConnectionPool, client: Elasticsearch, stage: IndexStage
) -> None:
    store(pool, 1, 3)
    stage.step(0)

    stage.close()

    assert client.count(index=ALIAS)["count"] == 3


def test_a_burst_is_found_at_the_first_pause(
    pool: ConnectionPool, client: Elasticsearch, stage: IndexStage
) -> None:
    store(pool, 1, 1000)
    while stage.step(0.2):
        pass

    assert client.count(index=ALIAS)["count"] == 1000


def test_a_document_says_what_its_row_says(
    pool: ConnectionPool, client: Elasticsearch, stage: IndexStage
) -> None:
    (stored,) = store(pool, 1, 1)

    stage.step(0)

    assert indexed(client)[stored]["_source"] == {
        "tenant_id": 1,
        "signal_id": stored,
        "event_id": "1-0",
        "event_type": "purchase",
        "customer_id": "c-1",
        "signal_type": "revenue",
        "signal_score": 0.9,
        "occurred_at": "2026-11-21T10:30:00Z",
        "received_at": "2026-11-21T10:30:00Z",
        "trace_id": None,
        "amount": "9.90",
        "currency": "USD",
        "data": {"amount": 9.90, "note": "blue bicycle"},
        "text": "c-1 purchase revenue 9.90 USD blue bicycle",
    }


def test_sending_a_batch_again_changes_nothing(
    pool: ConnectionPool, client: Elasticsearch, stage: IndexStage
) -> None:
    store(pool, 1, 3)
    stage.step(0)
    before = {key: hit["_source"] for key, hit in indexed(client).items()}

    assert stage.step(0) == 0
    with pool.connection() as connection:
        connection.execute("UPDATE outbox SET indexed_at = NULL")
    assert stage.step(0) == 3

    assert {key: hit["_source"] for key, hit in indexed(client).items()} == before
    assert pending(pool) == []


def test_a_batch_that_is_sent_again_does_not_count_as_late(
    pool: ConnectionPool, stage: IndexStage, metrics: Metrics
) -> None:
    store(pool, 1, 2)
    with pool.connection() as connection:
        connection.execute("UPDATE outbox SET attempts = -1")
    store(pool, 2, 3)

    assert stage.step(0) == 5

    assert metrics.registry.get_sample_value("sspp_signals_indexed_total") == 5
    assert metrics.registry.get_sample_value("sspp_index_lag_seconds_count") == 3


def test_a_batch_is_as_large_as_the_settings_say(
    pool: ConnectionPool, make_stage: Callable[..., IndexStage]
) -> None:
    for batch_id in range(6):
        store(pool, batch_id, 2)
    stage = make_stage(batch_events=4)

    assert [stage.step(0) for _ in range(4)] == [4, 4, 4, 0]


def test_a_row_larger_than_a_batch_is_taken_alone(
    pool: ConnectionPool, make_stage: Callable[..., IndexStage]
) -> None:
    store(pool, 1, 5)
    store(pool, 2, 5)

    assert make_stage(batch_events=2).step(0) == 5


def test_a_stage_locks_no_more_than_its_batch(
    pool: ConnectionPool, make_stage: Callable[..., IndexStage]
) -> None:
    for batch_id in range(4):
        store(pool, batch_id, 2)
    other = make_stage(batch_events=4)

    with pool.connection() as connection, connection.transaction():
        assert len(lock_due_rows(connection, 4)) == 2
        assert other.step(0) == 4
        assert other.step(0) == 0


def test_stages_side_by_side_index_each_row_once(
    pool: ConnectionPool, client: Elasticsearch, make_stage: Callable[..., IndexStage]
) -> None:
    ids = [each for batch_id in range(30) for each in store(pool, batch_id, 2)]

    def drain(stage: IndexStage) -> int:
        handled = 0
        while count := stage.step(0):
            handled += count
        return handled

    with ThreadPoolExecutor(2) as threads:
        handled = sum(threads.map(drain, [make_stage(batch_events=6), make_stage(batch_events=6)]))

    assert handled == len(ids)
    assert set(indexed(client)) == set(ids)
    assert pending(pool) == []


def test_rows_of_a_stage_that_died_are_free_at_once(
    pool: ConnectionPool, database_url: str, stage: IndexStage, until: Callable[..., Any]
) -> None:
    store(pool, 1, 2)
    with psycopg.connect(database_url) as dying:
        dying.execute("SELECT FROM outbox FOR UPDATE")
        assert stage.step(0) == 0
        dying.close()

    assert until(lambda: stage.step(0)) == 2


def test_an_idle_stage_waits_for_work(pool: ConnectionPool, stage: IndexStage) -> None:
    with ThreadPoolExecutor(1) as threads:
        step = threads.submit(stage.step, 10)
        store(pool, 1, 1)

        assert step.result(timeout=10) == 1


def test_rows_stay_pending_while_search_is_away(
    pool: ConnectionPool, make_stage: Callable[..., IndexStage], stage: IndexStage
) -> None:
    store(pool, 1, 2)
    with open_client("http://127.0.0.1:1") as nowhere:
        away = make_stage(client=nowhere)
        for _ in range(3):
            with pytest.raises(SearchUnavailableError):
                away.step(0)
    assert pending(pool) == [1]
    assert put_off(pool) == {}

    assert stage.step(0) == 2
    assert pending(pool) == []


def answering_bulk_with(url: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Elasticsearch:
    """A client whose server's bulk answers pass through `change`."""

    class Between(Urllib3HttpNode):
        def perform_request(self, method: str, target: str, *args: Any, **options: Any) -> Any:
            answer = super().perform_request(method, target, *args, **options)
            if target.startswith("/_bulk"):
                answer = answer._replace(body=json.dumps(change(json.loads(answer.body))).encode())
            return answer

    return Elasticsearch(url, node_class=Between, max_retries=0)


def test_a_batch_with_one_document_put_off_stays_pending_and_its_neighbours_do_not(
    pool: ConnectionPool,
    client: Elasticsearch,
    elasticsearch_url: str,
    make_stage: Callable[..., IndexStage],
    stage: IndexStage,
    metrics: Metrics,
) -> None:
    ids = store(pool, 1, 2) + store(pool, 2, 2) + store(pool, 3, 2)
    busy = {"index": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "full"}}}

    def refuse_one(answer: dict[str, Any]) -> dict[str, Any]:
        return {"items": [*answer["items"][:-1], busy]}

    with answering_bulk_with(elasticsearch_url, refuse_one) as busy_client, capture_logs() as lines:
        assert make_stage(client=busy_client).step(0) == 6

    assert put_off(pool) == dict.fromkeys(pending(pool), 1)
    assert len(pending(pool)) == 1
    assert metrics.registry.get_sample_value("sspp_documents_put_off_total") == 1
    (line,) = [line for line in lines if line["event"] == "documents_put_off"]
    assert line == {
        "event": "documents_put_off",
        "log_level": "warning",
        "count": 1,
        "statuses": {"429": 1},
    }

    set_due(pool, "0")
    assert stage.step(0) == 2
    assert pending(pool) == []
    assert failures(pool) == []
    assert set(indexed(client)) == set(ids)


def test_what_was_written_without_an_answer_is_not_written_again(
    pool: ConnectionPool, client: Elasticsearch, elasticsearch_url: str, make_stage: Callable[..., IndexStage]
) -> None:
    """To replace a document may take longer than to write it: a slow request, sent again as it was, ends never."""
    ids = store(pool, 1, 2)
    written: list[int] = []

    def lose_the_answer(answer: dict[str, Any]) -> dict[str, Any]:
        written.append(len(answer["items"]))
        return {"items": []}

    with answering_bulk_with(elasticsearch_url, lose_the_answer) as silent:
        stage = make_stage(client=silent)
        with pytest.raises(SearchUnavailableError):
            stage.step(0)
        assert written == [2]

        assert stage.step(0) == 2

    assert written == [2]
    assert pending(pool) == []
    assert set(indexed(client)) == set(ids)


def test_a_request_that_fails_as_a_whole_puts_no_row_off(
    pool: ConnectionPool, elasticsearch_url: str, make_stage: Callable[..., IndexStage], metrics: Metrics
) -> None:
    store(pool, 1, 2)

    with (
        answering_bulk_with(elasticsearch_url, lambda _: {"items": []}) as broken,
        pytest.raises(SearchUnavailableError, match="did not take 2 documents"),
    ):
        make_stage(client=broken).step(0)

    assert pending(pool) == [1]
    assert put_off(pool) == {}
    assert not metrics.registry.get_sample_value("sspp_documents_put_off_total")


def test_an_index_that_the_server_refuses_to_make_is_waited_for(
    pool: ConnectionPool, elasticsearch_url: str, make_stage: Callable[..., IndexStage], stage: IndexStage
) -> None:
    """As a cluster does that has as many shards as it may."""

    class Full(Urllib3HttpNode):
        def perform_request(self, method: str, target: str, *args: Any, **options: Any) -> Any:
            answer = super().perform_request(method, target, *args, **options)
            if method == "PUT" and target.startswith(f"/{ALIAS}-"):
                body = {"error": {"type": "validation_exception", "reason": "too many shards"}, "status": 400}
                return answer._replace(
                    meta=dataclasses.replace(answer.meta, status=400), body=json.dumps(body).encode()
                )
            return answer

    store(pool, 1, 2)

    with (
        Elasticsearch(elasticsearch_url, node_class=Full, max_retries=0) as full,
        pytest.raises(SearchUnavailableError, match="400 validation_exception"),
    ):
        make_stage(client=full).step(0)

    assert pending(pool) == [1]
    assert put_off(pool) == {}
    assert stage.step(0) == 2


@pytest.fixture
def locked_month(client: Elasticsearch) -> str:
    """The name of an index of one month that takes no writes."""
    ensure_template(client)
    name = index_name(LOCKED_MONTH)
    client.indices.create(index=name, settings={"index.blocks.write": True})
    return name


@pytest.mark.usefixtures("locked_month")
def test_newer_rows_are_indexed_while_older_ones_are_put_off(
    pool: ConnectionPool, client: Elasticsearch, make_stage: Callable[..., IndexStage]
) -> None:
    for batch_id in (1, 2):
        store(pool, batch_id, 2, received_at=LOCKED_MONTH)
    newer = store(pool, 3, 2)
    stage = make_stage(batch_events=2)

    assert [stage.step(0) for _ in range(3)] == [2, 2, 2]

    assert set(indexed(client)) == set(newer)
    assert pending(pool) == [1, 2]


@pytest.mark.usefixtures("locked_month")
def test_rows_that_are_due_again_and_again_do_not_overtake_newer_ones(
    pool: ConnectionPool, make_stage: Callable[..., IndexStage]
) -> None:
    store(pool, 1, 2, received_at=LOCKED_MONTH)
    stage = make_stage(batch_events=2)
    stage.step(0)
    store(pool, 2, 2)
    set_due(pool, "0")

    assert stage.step(0) == 2

    assert pending(pool) == [1]


def test_a_row_that_was_put_off_is_indexed_once_it_is_due(
    pool: ConnectionPool, client: Elasticsearch, stage: IndexStage, locked_month: str
) -> None:
    ids = store(pool, 1, 2, received_at=LOCKED_MONTH)
    stage.step(0)
    client.indices.put_settings(index=locked_month, settings={"index.blocks.write": None})

    set_due(pool, "1 hour")
    assert stage.step(0) == 0
    set_due(pool, "0")
    assert stage.step(0) == 2

    assert set(indexed(client)) == set(ids)
    assert pending(pool) == []


@pytest.mark.usefixtures("locked_month")
def test_the_backlog_does_not_count_what_is_put_off(pool: ConnectionPool, stage: IndexStage) -> None:
    store(pool, 1, 2, received_at=LOCKED_MONTH)
    stage.step(0)

    set_due(pool, "1 hour")
    assert stage.backlog() == 0
    set_due(pool, "0")
    assert stage.backlog() > 0


@pytest.mark.usefixtures("locked_month")
def test_a_row_is_put_off_for_longer_each_time(pool: ConnectionPool, stage: IndexStage) -> None:
    store(pool, 1, 2, received_at=LOCKED_MONTH)
    for attempts in range(1, 4):
        with pool.connection() as connection:
            connection.execute("UPDATE outbox SET put_off_until = now()")
        assert stage.step(0) == 2
        assert put_off(pool) == {1: attempts}
    with pool.connection() as connection:
        # Counted from the last step, which is later than created_at: the floor holds however slow the machine.
        row = connection.execute("SELECT put_off_until - created_at FROM outbox").fetchone()
    assert row is not None
    assert row[0] >= timedelta(seconds=pause_after(2))


def test_the_pause_doubles_from_a_second_up_to_a_minute_for_ever() -> None:
    assert [pause_after(attempts) for attempts in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pause_after(2**31 - 1) == 60


@pytest.mark.parametrize("statement", ["lock_pending_batches", "estimate_backlog"])
def test_what_is_due_is_found_through_the_index_of_pending_rows(pool: ConnectionPool, statement: str) -> None:
    query = getattr(Queries("worker", "outbox.sql"), statement)
    with pool.connection() as connection:
        # An empty table is cheapest to scan: forbid that, to see what the index can serve.
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {query}"))

    assert "outbox_pending" in plan
    assert "Index Cond: (COALESCE(put_off_until, created_at) <= now())" in plan
    assert "Sort" not in plan


def test_a_refused_document_is_recorded_and_sinks_no_neighbour(
    pool: ConnectionPool, client: Elasticsearch, stage: IndexStage, metrics: Metrics
) -> None:
    # An index of another mapping stands in for content that a server refuses.
    month = RECEIVED.strftime("signals-%Y-%m")
    ensure_template(client)
    client.indices.create(index=month, mappings={"properties": {"customer_id": {"type": "date"}}})
    (refused,) = store(pool, 101, 1, tenant_id=3, customer_id="no date")
    written = store(pool, 102, 2, customer_id="2020-01-01")

    assert stage.step(0) == 3

    assert set(indexed(client)) == set(written)
    assert pending(pool) == []
    ((signal, tenant_id, status, reason),) = failures(pool)
    assert (signal, tenant_id, status) == (refused, 3, 400)
    assert "customer_id" in reason
    assert metrics.registry.get_sample_value("sspp_index_failures_total") == 1

    client.indices.delete(index=month)
    while stage.step(0):
        pass
    assert failures(pool) == []


def test_signals_that_retention_dropped_are_skipped(
    pool: ConnectionPool, client: Elasticsearch, stage: IndexStage
) -> None:
    gone, kept = store(pool, 1, 1)[0], store(pool, 2, 1)[0]
    with pool.connection() as connection:
        connection.execute("DELETE FROM signals WHERE signal_id = %s", (UUID(gone),))

    assert stage.step(0) == 2

    assert set(indexed(client)) == {kept}
    assert pending(pool) == []


def test_a_server_that_was_wiped_gets_its_template_before_the_next_document(
    pool: ConnectionPool, client: Elasticsearch, stage: IndexStage
) -> None:
    ids = store(pool, 101, 1)
    stage.step(0)
    client.indices.delete(index="signals-2026-11")
    client.indices.delete_index_template(name=TEMPLATE)
    ids += store(pool, 102, 1)

    while stage.step(0):
        pass

    mapping = client.indices.get_mapping(index="signals-2026-11")["signals-2026-11"]["mappings"]
    assert mapping["dynamic"] == "strict"
    assert set(indexed(client)) == set(ids)


def test_months_of_one_batch_go_to_their_own_indices(
    pool: ConnectionPool, client: Elasticsearch, stage: IndexStage
) -> None:
    (october,) = store(pool, 1, 1, received_at=datetime(2026, 10, 31, 23, 59, 59, 999999, tzinfo=UTC))
    (november,) = store(pool, 2, 1, received_at=datetime(2026, 11, 1, tzinfo=UTC))

    assert stage.step(0) == 2

    assert {key: hit["_index"] for key, hit in indexed(client).items()} == {
        october: "signals-2026-10",
        november: "signals-2026-11",
    }
