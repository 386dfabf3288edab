"""Wherever withholding breaks off, nothing is lost, doubled or counted twice."""

from typing import Any

import pytest
import redis.exceptions
from structlog.testing import capture_logs
from withholding import GRACE, SEVEN, Pipeline, bad, drain, good, ids, queued_bytes, register_visit

from common.errors import QueueUnavailableError
from common.queue.streams import WITHHELD_KEY, depth, lane_of
from common.queue.withheld import WithheldEvents
from worker.ingest.isolation import BatchFailedError

pytestmark = pytest.mark.usefixtures("guarded")


def _lose_connection(*_: Any, **__: Any) -> None:
    raise redis.exceptions.ConnectionError


def test_a_batch_that_is_tried_again_counts_once(pipeline: Pipeline, withheld: WithheldEvents) -> None:
    pipeline.push(*bad(GRACE - 1))
    stage = pipeline.stage()
    with pipeline.pool.connection() as connection:
        connection.execute("ALTER TABLE rejected_events RENAME TO hidden")
    for _ in range(5):
        with pytest.raises(BatchFailedError, match="UndefinedTable"), capture_logs():
            stage.step(0)
    with pipeline.pool.connection() as connection:
        connection.execute("ALTER TABLE hidden RENAME TO rejected_events")

    stage.step(0)

    assert len(ids(pipeline, "rejected_events")) == GRACE - 1
    assert withheld.events() == {}


@pytest.mark.parametrize("when", ["before the events are put away", "before the rest is acknowledged"])
def test_a_crash_between_the_steps_loses_and_doubles_nothing(
    pipeline: Pipeline, withheld: WithheldEvents, when: str
) -> None:
    pipeline.push(*good(5, "a"), *bad(20))
    pipeline.push(*good(5, "b"))
    dead = pipeline.stage("dead")
    with pytest.MonkeyPatch.context() as patch:
        if when == "before the events are put away":
            patch.setattr(dead._withheld, "withhold", _die)
        else:
            patch.setattr(dead._consumer, "acknowledge", _die)
        with pytest.raises(KeyboardInterrupt):
            drain(dead)
    assert depth(pipeline.redis)

    heir = pipeline.stage("heir")
    heir.rescue({"heir"})
    drain(heir)

    assert len(ids(pipeline, "events")) == 10
    assert pipeline.value("SELECT signal_count FROM customers") == 10
    assert withheld.events() == {SEVEN: 20}
    assert (depth(pipeline.redis), ids(pipeline, "rejected_events")) == ({}, [])


def test_while_redis_is_away_the_batch_is_kept_and_withheld_afterwards(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    pipeline.push(*good(5), *bad(20))
    stage = pipeline.stage()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage._withheld._redis, "pipeline", _lose_connection)
        for _ in range(3):
            with pytest.raises(QueueUnavailableError):
                stage.step(0)

    stage.step(0)

    assert (len(ids(pipeline, "events")), withheld.events()) == (5, {SEVEN: 20})
    assert pipeline.value("SELECT signal_count FROM customers") == 5


def test_two_workers_that_finish_the_same_entry_withhold_it_once(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    pipeline.push(*good(5), *bad(20))
    slow, heir = pipeline.stage("slow"), pipeline.stage("heir")
    slow._held = slow._consumer.read(16, 0)
    heir.rescue({"heir"})

    assert (heir.step(0), slow.step(0)) == (25, 25)

    assert withheld.events() == {SEVEN: 20}
    assert pipeline.value("SELECT count(*) FROM events") == 5
    assert queued_bytes(pipeline.redis, SEVEN) > 0
    register_visit(pipeline)
    withheld.bring_some_back()
    pipeline.drain()
    assert pipeline.value("SELECT count(*) FROM events") == 25
    assert queued_bytes(pipeline.redis, SEVEN) == 0


def test_at_redis_memory_limit_events_can_still_be_withheld_and_brought_back(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    pipeline.push(*good(5), *bad(20))
    stage = pipeline.stage()
    used = int(pipeline.redis.info("memory")["used_memory"])
    try:
        pipeline.redis.config_set("maxmemory", used // 2)
        stage.step(0)
        assert withheld.events() == {SEVEN: 20}
        assert withheld.bring_some_back() == 20
        assert depth(pipeline.redis) == {lane_of(SEVEN): 20}
    finally:
        pipeline.redis.config_set("maxmemory", 0)


def test_a_stream_that_somebody_removed_is_forgotten(pipeline: Pipeline, withheld: WithheldEvents) -> None:
    pipeline.push(*bad(20))
    pipeline.drain()
    pipeline.redis.delete(f"{WITHHELD_KEY}:{SEVEN}")

    assert withheld.bring_some_back() == 0
    assert withheld.events() == {}


def _die(*_: Any) -> None:
    raise KeyboardInterrupt
