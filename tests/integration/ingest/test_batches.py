"""How entries of the lanes become batches, and what is logged of them."""

from typing import Any

import pytest
import redis.exceptions
import structlog
from ingest_pipeline import IngestPipeline as Pipeline
from ingesting import LANE, drain, purchase
from structlog.testing import capture_logs

from common.errors import QueueUnavailableError
from common.queue.streams import LANES


def test_a_read_follows_the_size_of_entries(pipeline: Pipeline) -> None:
    for number in range(300):
        pipeline.push(purchase(f"e{number}"))
    stage = pipeline.stage()

    steps = 0
    while stage.step(0):
        steps += 1

    assert pipeline.value("SELECT count(*) FROM events") == 300
    assert steps < 15


def test_entries_whose_hand_over_broke_off_are_read_again(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"))
    pipeline.push(purchase("e2"))
    stage = pipeline.stage()
    # Redis hands the first entry over, and the reply is lost on its way.
    lost = stage._consumer._redis.xreadgroup("workers", "drain-1", {LANE: ">"}, count=1)
    assert lost
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage._consumer._redis, "xreadgroup", _lose_connection)
        with pytest.raises(QueueUnavailableError):
            stage.step(0)

    drain(stage)

    assert pipeline.value("SELECT count(*) FROM events") == 2


def test_an_entry_that_is_none_of_ours_is_set_aside(pipeline: Pipeline) -> None:
    pipeline.redis.xadd(LANES[3], {b"records": b"\xff", b"tenant": b"7"})
    pipeline.push(purchase("e1"))

    pipeline.drain()

    assert pipeline.redis.xlen("sspp:ingest:quarantine") == 1
    assert pipeline.redis.xlen(LANES[3]) == 0
    assert pipeline.value("SELECT count(*) FROM events") == 1


def test_the_work_of_a_living_drain_is_left_alone(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"))
    busy = pipeline.stage("busy")
    busy._held = busy._consumer.read(1, 0)

    assert pipeline.stage("other").rescue({"busy", "other"}) == 0


def test_only_the_line_of_the_batch_names_all_its_entries(pipeline: Pipeline) -> None:
    """With a thousand single events in the queue, a line for each that names them all would be megabytes."""
    pipeline.push(purchase("e1"))
    pipeline.push(purchase("e1", amount="2.00"))
    pipeline.push(purchase("e2", amount="-1"))

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        pipeline.drain()

    batches = {line["batch_id"]: line["entries"] for line in logs if line["event"] == "batch_stored"}
    assert sum(map(len, batches.values())) == 3
    single = [line for line in logs if line["event"] in ("event_conflict", "event_rejected")]
    assert len(single) == 2
    assert not any("entries" in line for line in single)
    assert {line["batch_id"] for line in single} <= batches.keys()


def _lose_connection(*_: Any, **__: Any) -> None:
    raise redis.exceptions.ConnectionError
