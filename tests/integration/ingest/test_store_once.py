"""Each event is stored once, however often, where and by whom it is stored."""

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from ingest_pipeline import IngestPipeline as Pipeline
from ingesting import LANE, NOON, purchase

from common.queue.streams import Record, depth


def test_what_was_stored_leaves_the_lane(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"), purchase("e2"))
    assert depth(pipeline.redis) == {LANE: 2}

    pipeline.drain()

    assert depth(pipeline.redis) == {}
    assert pipeline.redis.xlen(LANE) == 0


@pytest.mark.parametrize("apart", ["in one batch", "in two batches", "a month later"])
def test_the_same_event_again_changes_nothing(pipeline: Pipeline, apart: str) -> None:
    raw = purchase("e1")
    if apart == "in one batch":
        pipeline.push(raw, raw)
    else:
        pipeline.push(raw)
        if apart == "a month later":
            pipeline.drain()
        pipeline.push(raw, received_at=NOON + timedelta(days=31 if apart == "a month later" else 0))

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 1
    assert pipeline.value("SELECT count(*) FROM signals") == 1
    assert pipeline.value("SELECT signal_count FROM customers") == 1
    assert pipeline.value("SELECT totals->>'USD' FROM customers") == "10.00"
    assert pipeline.metrics.registry.get_sample_value("sspp_events_duplicate_total") == 1
    assert pipeline.metrics.registry.get_sample_value("sspp_events_conflict_total") == 0


def test_the_same_event_without_occurred_at_is_no_conflict(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"), purchase("e1", occurred_at=None))

    pipeline.drain()

    assert pipeline.metrics.registry.get_sample_value("sspp_events_conflict_total") == 0


@pytest.mark.parametrize("batches", [1, 2])
def test_other_content_under_a_known_id_is_counted_as_a_conflict_and_not_stored(
    pipeline: Pipeline, batches: int
) -> None:
    pipeline.push(purchase("e1", amount="1.00"))
    if batches == 2:
        pipeline.drain()
    pipeline.push(purchase("e1", amount="2.00"))

    pipeline.drain()

    assert pipeline.metrics.registry.get_sample_value("sspp_events_conflict_total") == 1
    assert pipeline.value("SELECT totals->>'USD' FROM customers") == "1.00"


def test_odd_numbers_outside_of_data_make_a_conflict_and_no_harm(pipeline: Pipeline) -> None:
    for odd in (b"1e99999999999999999999", b"9" * 5000):
        raw = purchase("e1")
        pipeline.push_records([Record("e1", NOON, raw[:-1] + b', "x": ' + odd + b"}")])
        pipeline.push_records([Record("e1", NOON, raw[:-1] + b', "x":  ' + odd + b"}")])
    pipeline.push(purchase("e2", customer="other"), tenant=8)

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 2
    assert depth(pipeline.redis) == {}


def test_two_tenants_may_use_the_same_event_id(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"), tenant=7)
    pipeline.push(purchase("e1"), tenant=8)

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 2
    assert pipeline.value("SELECT count(DISTINCT batch_id) FROM outbox") == 1
    assert sorted(row["tenant_id"] for row in pipeline.rows("SELECT tenant_id FROM outbox")) == [7, 8]


def test_two_workers_with_the_same_events_at_once_store_each_once(pipeline: Pipeline) -> None:
    raws = [purchase(f"e{number}", customer=f"c{number % 7}") for number in range(400)]
    for start in range(0, 400, 50):
        pipeline.push(*raws[start : start + 50])
        pipeline.push(*reversed(raws[start : start + 50]))
    together = threading.Barrier(2)

    def work(name: str) -> None:
        stage = pipeline.stage(name)
        together.wait()
        while stage.step(0.2):
            pass

    threads = [threading.Thread(target=work, args=(f"drain-{number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert pipeline.value("SELECT count(*) FROM events") == 400
    assert pipeline.value("SELECT sum(signal_count) FROM customers") == 400
    assert pipeline.value("SELECT sum((totals->>'USD')::numeric) FROM customers") == Decimal("4000.00")
    assert pipeline.metrics.registry.get_sample_value("sspp_events_duplicate_total") == 400
    assert depth(pipeline.redis) == {}


def test_a_batch_committed_but_not_acknowledged_is_taken_again_without_effect(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"))
    dead = pipeline.stage("dead")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead._consumer, "acknowledge", _die)
        with pytest.raises(KeyboardInterrupt):
            dead.step(0)
    assert pipeline.value("SELECT count(*) FROM events") == 1

    heir = pipeline.stage("heir")
    assert heir.rescue({"heir"}) == 1
    heir.step(0)

    assert depth(pipeline.redis) == {}
    assert pipeline.value("SELECT signal_count FROM customers") == 1


def _die(*_: Any) -> None:
    raise KeyboardInterrupt
