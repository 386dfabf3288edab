"""The dead-letter guard on real Redis and PostgreSQL: which refusals it withholds, and how that is seen."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import structlog
from ingest_pipeline import validation_breaking_at
from structlog.testing import capture_logs
from withholding import (
    EIGHT,
    GRACE,
    SEVEN,
    Pipeline,
    bad,
    drain,
    event,
    good,
    ids,
    new_guard,
    queued_bytes,
    register_visit,
)

from common.queue.backlog import measure_lanes
from common.queue.queued_bytes import QueuedBytes, QueueMeter
from common.queue.streams import STREAMS, WITHHELD_KEY, depth
from common.queue.withheld import Reason, WithheldEvents
from common.redis import open_async_redis
from worker.store.batch import Store

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
pytestmark = pytest.mark.usefixtures("guarded")


def admitted_by(redis_url: str) -> QueuedBytes:
    """What the API sees of the queue."""

    async def read() -> QueuedBytes:
        async with open_async_redis(redis_url) as client:
            return await QueueMeter(client, streams=STREAMS, withheld=WITHHELD_KEY).read()

    return asyncio.run(read())


def test_a_flood_of_refusals_is_withheld_while_everything_valid_is_stored(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    pipeline.push(*good(5), *bad(20))
    pipeline.push(*good(5), tenant=EIGHT)
    pipeline.push(event("unlucky", "visit"), tenant=EIGHT)

    pipeline.drain()

    assert (len(ids(pipeline, "events")), len(ids(pipeline, "events", EIGHT))) == (5, 5)
    assert ids(pipeline, "rejected_events") == []
    assert ids(pipeline, "rejected_events", EIGHT) == ["unlucky"]
    assert withheld.events() == {SEVEN: 20}
    assert depth(pipeline.redis) == {}


def test_refusals_up_to_the_grace_are_made(pipeline: Pipeline, withheld: WithheldEvents) -> None:
    for number in range(GRACE):
        pipeline.push(*bad(1, f"early{number}-"))
        pipeline.drain()
    assert withheld.events() == {}

    pipeline.push(*bad(3, "late"))
    pipeline.drain()

    assert len(ids(pipeline, "rejected_events")) == GRACE
    assert withheld.events() == {SEVEN: 3}


def test_what_is_withheld_raises_the_alarm(pipeline: Pipeline) -> None:
    pipeline.push(*bad(15), *(event(f"negative{number}", amount="-1") for number in range(3)))

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        pipeline.drain()
    measure_lanes(pipeline.redis, pipeline.metrics)

    (line,) = (line for line in logs if line["event"] == "refusals_withheld")
    assert (line["log_level"], line["tenant_id"], line["events"]) == ("error", SEVEN, 18)
    assert (line["refused_share"], len(line["entries"])) == (1, 1)
    assert line["reasons"] == [
        {"code": "unknown_event_type", "event_type": "visit", "events": 15},
        {"code": "schema_violation", "event_type": "purchase", "events": 3},
    ]
    sample = pipeline.metrics.registry.get_sample_value
    assert sample("sspp_refusals_withheld_total") == 18
    assert sample("sspp_withheld_events") == 18
    assert sample("sspp_events_rejected_total", {"code": "unknown_event_type"}) is None


def test_what_is_withheld_can_be_looked_at(pipeline: Pipeline, withheld: WithheldEvents) -> None:
    pipeline.push(*bad(12), received_at=NOON - timedelta(hours=2))
    pipeline.push(event("negative", amount="-1"), received_at=NOON)
    pipeline.drain()

    summary = withheld.summary(SEVEN)

    assert (summary.events, summary.oldest_received_at) == (13, NOON - timedelta(hours=2))
    assert summary.reasons == [
        (Reason("unknown_event_type", "visit"), 12),
        (Reason("schema_violation", "purchase"), 1),
    ]
    assert summary.released_until is None
    assert withheld.summary(EIGHT).events == 0


def test_withheld_events_count_for_their_tenant_until_they_leave(
    pipeline: Pipeline, withheld: WithheldEvents, environment: dict[str, str]
) -> None:
    pipeline.push(*bad(20))
    whole = queued_bytes(pipeline.redis, SEVEN)
    pipeline.drain()
    assert queued_bytes(pipeline.redis, SEVEN) == whole > 0

    pipeline.push(*good(5), *bad(5, "more"))
    pipeline.drain()
    assert whole < queued_bytes(pipeline.redis, SEVEN) < whole * 1.3
    # The lane is empty: that does not mean that nothing waits.
    assert admitted_by(environment["REDIS_URL"]).tenants == {SEVEN: queued_bytes(pipeline.redis, SEVEN)}

    register_visit(pipeline)
    withheld.bring_some_back()
    pipeline.drain()
    assert queued_bytes(pipeline.redis, SEVEN) == 0


def test_faults_of_our_own_are_withheld_and_stored_by_mended_code(
    pipeline: Pipeline, withheld: WithheldEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("worker.ingest.preparation.validate", validation_breaking_at("e"))
        pipeline.push(*(event(f"e{number}") for number in range(GRACE + 1)), *good(10))
        with capture_logs():  # rendering a trace takes long
            pipeline.drain()
    assert withheld.events() == {SEVEN: GRACE + 1}
    assert ids(pipeline, "rejected_events") == []

    new_guard(pipeline)
    withheld.bring_some_back()
    pipeline.drain()

    assert len(ids(pipeline, "events")) == GRACE + 11
    assert withheld.events() == {}


def test_what_postgresql_refuses_is_withheld_too_when_it_is_too_much(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    class Picky(Store):
        def write(self, events: Any, refused: Any) -> Any:
            if any(valid.event.event_id.startswith("bad") for valid in events):
                raise psycopg.DataError("value out of range")
            return super().write(events, refused)

    pipeline.push(*(event(f"bad{number}") for number in range(30)), *good(3), *bad(2, "invalid"))
    stage = pipeline.stage(store=Picky(pipeline.pool))
    drain(stage)

    assert ids(pipeline, "rejected_events") == ["invalid0", "invalid1"]
    assert withheld.events() == {SEVEN: 30}
    assert len(ids(pipeline, "events")) == 3
    withheld.bring_some_back()
    pipeline.drain()
    assert len(ids(pipeline, "events")) == 33
