"""What is remembered of the indices while nothing is lost, and what upkeep and retention leave of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from elasticsearch import Elasticsearch
from indexing import NOVEMBER, NOVEMBER_INDEX, OCTOBER, MakeStage, SignalStore, drain, indexed, resends

from common.errors import SearchUnavailableError
from common.metrics import Metrics
from common.search.client import open_client
from worker.maintenance.upkeep import delete_indexed_outbox


def test_nothing_is_sent_again_while_nothing_is_lost(
    client: Elasticsearch, make_stage: MakeStage, store: SignalStore, metrics: Metrics
) -> None:
    for received_at in (NOVEMBER, OCTOBER) * 15:
        store.add(20, received_at=received_at)
    (newer,) = store.add(1)
    make_stage().step(0)
    # A version that is newer than ours answers 409, which carries no number; others write to the index as well.
    client.index(
        index=NOVEMBER_INDEX, id=newer, document={"tenant_id": 1}, version=99, version_type="external"
    )
    client.index(index=NOVEMBER_INDEX, id="another", document={"tenant_id": 1})
    client.delete(index=NOVEMBER_INDEX, id="another")
    store.execute("UPDATE outbox SET indexed_at = NULL")

    with ThreadPoolExecutor(2) as threads:
        handled = list(threads.map(drain, [make_stage(batch_events=30), make_stage(batch_events=30)]))
    assert sum(handled) == len(store.ids)
    for _ in range(3):
        assert drain(make_stage()) == 0

    assert indexed(client).keys() == store.ids
    assert resends(metrics) == 0


def test_a_month_that_retention_dropped_is_forgotten(
    client: Elasticsearch, make_stage: MakeStage, store: SignalStore
) -> None:
    store.add(2, received_at=OCTOBER)
    drain(make_stage())
    store.execute("DELETE FROM signals")
    store.execute("DELETE FROM outbox")
    client.indices.delete(index="signals-2026-10")

    drain(make_stage())

    assert store.rows("SELECT FROM index_marks") == []


def test_an_index_that_a_rebuilt_one_replaced_is_not_missed(
    client: Elasticsearch, make_stage: MakeStage, store: SignalStore, metrics: Metrics
) -> None:
    store.add(2)
    drain(make_stage())
    store.execute("INSERT INTO search_indices (month, generation) VALUES ('2026-11-01', 2)")
    client.indices.delete(index=NOVEMBER_INDEX)

    drain(make_stage())

    assert resends(metrics) == 0
    assert not client.indices.exists(index=NOVEMBER_INDEX)


def test_upkeep_keeps_the_rows_that_a_loss_would_need(
    connection: psycopg.Connection, make_stage: MakeStage, store: SignalStore
) -> None:
    for _ in range(3):
        store.add(1)
        drain(make_stage())
        store.let_time_pass("1 hour")

    assert delete_indexed_outbox(connection, datetime.now(UTC) - timedelta(minutes=15)) == 1
    assert store.value("SELECT count(*) FROM outbox") == 2


def test_an_idle_stage_does_not_mind_that_search_is_away(make_stage: MakeStage, store: SignalStore) -> None:
    store.add(1)
    drain(make_stage())

    with open_client("http://127.0.0.1:1") as nowhere:
        assert make_stage(nowhere).step(0) == 0
        store.add(1)
        with pytest.raises(SearchUnavailableError):
            make_stage(nowhere).step(0)

    assert len(store.pending()) == 1


def test_a_month_that_the_former_release_began_to_send_again_is_sent_from_its_beginning(
    client: Elasticsearch, make_stage: MakeStage, store: SignalStore
) -> None:
    for number in range(9):
        store.add(2, received_at=OCTOBER + timedelta(days=number))
    drain(make_stage())
    store.execute("DELETE FROM outbox")
    client.indices.delete(index="signals-2026-10")
    make_stage().step(0)
    store.execute("UPDATE index_marks SET refilled_through = 'ffffffff-ffff-ffff-ffff-ffffffffffff'")

    drain(make_stage(batch_events=4))

    assert indexed(client).keys() == store.ids
    assert store.value("SELECT refilled_through FROM index_marks") is None
