"""The index stage over a real PostgreSQL and a real search server."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from elasticsearch import Elasticsearch
from indexing import NOVEMBER_INDEX, MakeStage, SignalStore, drain, indexed, sources
from patience import PATIENCE_SECONDS
from psycopg_pool import ConnectionPool

from common.metrics import Metrics
from common.search.template import ALIAS, TEMPLATE
from worker.index import stage as index_module
from worker.index.outbox import lock_due_rows
from worker.index.stage import IndexStage


def test_every_pending_signal_is_indexed_and_its_row_marked(
    store: SignalStore, client: Elasticsearch, stage: IndexStage, metrics: Metrics
) -> None:
    store.add(3)
    store.add(2, tenant_id=2)
    store.add(1)
    assert stage.backlog() > 0

    assert stage.step(0) == 6

    assert indexed(client).keys() == store.ids
    assert store.pending() == []
    assert stage.backlog() == 0
    sample = metrics.registry.get_sample_value
    assert sample("sspp_signals_indexed_total") == 6
    assert sample("sspp_index_lag_seconds_sum") == 6 * 2.0


def test_what_a_drain_wrote_is_found_when_it_ends(
    store: SignalStore, client: Elasticsearch, stage: IndexStage
) -> None:
    store.add(3)
    stage.step(0)

    stage.close()

    assert client.count(index=ALIAS)["count"] == 3


def test_a_burst_is_found_at_the_first_pause(
    store: SignalStore, client: Elasticsearch, stage: IndexStage
) -> None:
    store.add(1000)
    while stage.step(0.2):
        pass

    assert client.count(index=ALIAS)["count"] == 1000


def test_a_document_says_what_its_row_says(
    store: SignalStore, client: Elasticsearch, stage: IndexStage
) -> None:
    (stored,) = store.add(1, data={"amount": 9.90, "note": "blue bicycle"})

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
    store: SignalStore, client: Elasticsearch, stage: IndexStage
) -> None:
    store.add(3)
    stage.step(0)
    before = sources(client)

    assert stage.step(0) == 0
    store.execute("UPDATE outbox SET indexed_at = NULL")
    assert stage.step(0) == 3

    assert sources(client) == before
    assert store.pending() == []


def test_a_batch_that_is_sent_again_does_not_count_as_late(
    store: SignalStore, stage: IndexStage, metrics: Metrics
) -> None:
    store.add(2)
    store.execute("UPDATE outbox SET attempts = -1")
    store.add(3)

    assert stage.step(0) == 5

    assert metrics.registry.get_sample_value("sspp_signals_indexed_total") == 5
    assert metrics.registry.get_sample_value("sspp_index_lag_seconds_count") == 3


def test_a_batch_is_as_large_as_the_settings_say(store: SignalStore, make_stage: MakeStage) -> None:
    for _ in range(6):
        store.add(2)
    stage = make_stage(batch_events=4)

    assert [stage.step(0) for _ in range(4)] == [4, 4, 4, 0]


def test_a_row_larger_than_a_batch_is_taken_alone(store: SignalStore, make_stage: MakeStage) -> None:
    store.add(5)
    store.add(5)

    assert make_stage(batch_events=2).step(0) == 5


def test_only_a_batch_that_took_all_there_was_is_followed_by_a_pause(
    store: SignalStore, make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(index_module.time, "sleep", pauses.append)
    for _ in range(5):
        store.add(2)
    small = make_stage(batch_events=4)

    assert [(small.step(0), len(pauses)) for _ in range(3)] == [(4, 0), (4, 0), (2, 1)]

    # As many rows as one batch may have, and one more; retention dropped what they name.
    store.execute(
        "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until)"
        " SELECT nextval('batch_ids'), 1, ARRAY[gen_random_uuid()], now(), now() FROM generate_series(1, 501)"
    )
    large = make_stage()

    assert [(large.step(0), len(pauses)) for _ in range(2)] == [(500, 1), (1, 2)]


def test_a_stage_locks_no_more_than_its_batch(
    pool: ConnectionPool, store: SignalStore, make_stage: MakeStage
) -> None:
    for _ in range(4):
        store.add(2)
    other = make_stage(batch_events=4)

    with pool.connection() as connection, connection.transaction():
        assert len(lock_due_rows(connection, 4)) == 2
        assert other.step(0) == 4
        assert other.step(0) == 0


def test_stages_side_by_side_index_each_row_once(
    store: SignalStore, client: Elasticsearch, make_stage: MakeStage
) -> None:
    for _ in range(30):
        store.add(2)

    with ThreadPoolExecutor(2) as threads:
        handled = sum(threads.map(drain, [make_stage(batch_events=6), make_stage(batch_events=6)]))

    assert handled == len(store.ids) == 60
    assert indexed(client).keys() == store.ids
    assert store.pending() == []


def test_rows_of_a_stage_that_died_are_free_at_once(
    store: SignalStore, database_url: str, stage: IndexStage, until: Callable[..., Any]
) -> None:
    store.add(2)
    with psycopg.connect(database_url) as dying:
        dying.execute("SELECT FROM outbox FOR UPDATE")
        assert stage.step(0) == 0
        dying.close()

    assert until(lambda: stage.step(0)) == 2


def test_an_idle_stage_waits_for_work(store: SignalStore, stage: IndexStage) -> None:
    with ThreadPoolExecutor(1) as threads:
        step = threads.submit(stage.step, 10)
        store.add(1)

        assert step.result(timeout=PATIENCE_SECONDS) == 1


def test_signals_that_retention_dropped_are_skipped(
    store: SignalStore, client: Elasticsearch, stage: IndexStage
) -> None:
    gone, kept = store.add(1)[0], store.add(1)[0]
    store.execute("DELETE FROM signals WHERE signal_id = %s", (UUID(gone),))

    assert stage.step(0) == 2

    assert set(indexed(client)) == {kept}
    assert store.pending() == []


def test_a_server_that_was_wiped_gets_its_template_before_the_next_document(
    store: SignalStore, client: Elasticsearch, stage: IndexStage
) -> None:
    store.add(1)
    stage.step(0)
    client.indices.delete(index=NOVEMBER_INDEX)
    client.indices.delete_index_template(name=TEMPLATE)
    store.add(1)

    drain(stage)

    mapping = client.indices.get_mapping(index=NOVEMBER_INDEX)[NOVEMBER_INDEX]["mappings"]
    assert mapping["dynamic"] == "strict"
    assert indexed(client).keys() == store.ids


def test_months_of_one_batch_go_to_their_own_indices(
    store: SignalStore, client: Elasticsearch, stage: IndexStage
) -> None:
    (october,) = store.add(1, received_at=datetime(2026, 10, 31, 23, 59, 59, 999999, tzinfo=UTC))
    (november,) = store.add(1, received_at=datetime(2026, 11, 1, tzinfo=UTC))

    assert stage.step(0) == 2

    assert {key: hit["_index"] for key, hit in indexed(client).items()} == {
        october: "signals-2026-10",
        november: NOVEMBER_INDEX,
    }
