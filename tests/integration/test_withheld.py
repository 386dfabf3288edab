"""The dead-letter guard on real Redis and PostgreSQL: what it withholds, and that nothing is lost on the way back."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import redis.exceptions
import structlog
from redis import Redis
from structlog.testing import capture_logs

from common.errors import QueueUnavailableError
from common.queue.backlog import measure_lanes
from common.queue.queued_bytes import BYTES_KEY, QueuedBytes, QueueMeter
from common.queue.streams import LANES, WITHHELD_KEY, Record, depth, lane_of
from common.queue.withheld import Reason, WithheldEvents
from common.redis import open_async_redis
from common.wakeup import Waker, job_queue
from worker.cron import BringBack
from worker.guard import GuardLimits, RefusalGuard
from worker.isolation import BatchFailedError
from worker.stages import Stages
from worker.store import Store
from worker.validation import validate

Pipeline = Any  # of conftest.py

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
GRACE = 10
SEVEN, EIGHT = 7, 8


def event(event_id: str, kind: str = "purchase", amount: str = "1.00") -> bytes:
    data = {"amount": amount, "currency": "USD"}
    return json.dumps({"event_id": event_id, "event_type": kind, "customer_id": "c1", "data": data}).encode()


def good(count: int, name: str = "good") -> list[bytes]:
    return [event(f"{name}{number}") for number in range(count)]


def bad(count: int, name: str = "bad") -> list[bytes]:
    return [event(f"{name}{number}", "visit") for number in range(count)]


def register_visit(pipeline: Pipeline, tenant: int = SEVEN) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute(
            "INSERT INTO event_types (tenant_id, event_type, version, schema) VALUES (%s, 'visit', 1, '{}')",
            (tenant,),
        )


def ids(pipeline: Pipeline, table: str, tenant: int = SEVEN) -> list[str]:
    rows = pipeline.rows(f"SELECT event_id FROM {table} WHERE tenant_id = %(tenant)s", tenant=tenant)
    return sorted(row["event_id"] for row in rows)


def queued_bytes(client: Redis, tenant: int) -> int:
    return int(client.hget(BYTES_KEY, str(tenant)) or 0)  # type: ignore[arg-type]


def _lose_connection(*_: Any, **__: Any) -> None:
    raise redis.exceptions.ConnectionError


def admitted_by(redis_url: str) -> QueuedBytes:
    """What the API sees of the queue."""

    async def read() -> QueuedBytes:
        async with open_async_redis(redis_url) as client:
            return await QueueMeter(client, lanes=LANES, withheld=WITHHELD_KEY).read()

    return asyncio.run(read())


@pytest.fixture
def pipeline(pipeline: Pipeline) -> Pipeline:
    pipeline.guard = RefusalGuard(GuardLimits(max_share=0.5, grace=GRACE))
    return pipeline


@pytest.fixture
def withheld(pipeline: Pipeline) -> WithheldEvents:
    return WithheldEvents(pipeline.redis)


def new_code(pipeline: Pipeline) -> None:
    """As if the worker had been started anew: a guard that knows nothing."""
    pipeline.guard = RefusalGuard(GuardLimits(max_share=0.5, grace=GRACE))


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


def test_withheld_events_are_stored_once_their_type_exists_as_if_nothing_had_been(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    received = NOON - timedelta(days=40)
    pipeline.push(*bad(20), received_at=received)
    pipeline.drain()
    register_visit(pipeline)

    assert withheld.bring_some_back() == 20
    pipeline.drain()

    assert ids(pipeline, "events") == sorted(f"bad{number}" for number in range(20))
    assert pipeline.rows("SELECT DISTINCT received_at FROM events") == [{"received_at": received}]
    assert pipeline.value("SELECT signal_count FROM customers") == 20
    assert ids(pipeline, "rejected_events") == []
    assert (withheld.events(), depth(pipeline.redis)) == ({}, {})


def test_withheld_events_that_are_no_better_are_withheld_again_by_any_worker(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    pipeline.push(*bad(20))
    pipeline.drain()

    for _ in range(3):
        new_code(pipeline)
        withheld.bring_some_back()
        # Few enough for a guard that has just begun to let them pass: it must not.
        pipeline.drain()

    assert withheld.events() == {SEVEN: 20}
    assert ids(pipeline, "rejected_events") == []


def test_a_withheld_event_is_not_refused_when_the_guard_has_calmed_down(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    pipeline.push(*bad(20))
    pipeline.drain()
    pipeline.push(*good(100))
    pipeline.push(*bad(1, "later"))
    pipeline.drain()
    assert ids(pipeline, "rejected_events") == ["later0"]

    withheld.bring_some_back()
    pipeline.drain()

    assert withheld.events() == {SEVEN: 20}


def test_the_worker_brings_back_the_rest_once_withheld_events_turn_out_valid(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    for start in range(0, 60, 10):
        pipeline.push(*bad(10, f"b{start}-"), *bad(2, f"c{start}-"))
    pipeline.drain()
    assert withheld.events() == {SEVEN: 72}
    register_visit(pipeline)

    withheld.bring_back(SEVEN, most_events=12)
    pipeline.drain()

    assert len(ids(pipeline, "events")) == 72
    assert withheld.events() == {}


def test_withheld_events_of_a_mended_type_do_not_wait_for_those_of_another(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    pipeline.push(*(event(f"first{number}", "unheard_of") for number in range(GRACE + 1)))
    pipeline.drain()
    for number in range(30):
        pipeline.push(event(f"other{number}", "unheard_of"), event(f"mended{number}", "visit"))
    pipeline.drain()
    register_visit(pipeline)

    withheld.bring_back(SEVEN, most_events=20)
    pipeline.drain()

    assert ids(pipeline, "events") == sorted(f"mended{number}" for number in range(30))
    assert withheld.events() == {SEVEN: GRACE + 31}


def test_one_tenants_withheld_events_do_not_keep_anothers_waiting(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    pipeline.push(*bad(11), tenant=EIGHT)
    for start in range(20):
        pipeline.push(*bad(20, f"b{start}-"))
    pipeline.drain()
    register_visit(pipeline, EIGHT)

    withheld.bring_some_back()
    pipeline.drain()

    assert len(ids(pipeline, "events", EIGHT)) == 11
    assert withheld.events() == {SEVEN: 400}


def test_released_refusals_are_made(pipeline: Pipeline, withheld: WithheldEvents) -> None:
    for start in range(3):
        pipeline.push(*bad(20, f"b{start}-"))
        pipeline.push(*bad(20, f"b{start}-"), tenant=EIGHT)
    pipeline.drain()

    assert withheld.release(SEVEN, timedelta(minutes=5)) == 60
    pipeline.drain()

    assert len(ids(pipeline, "rejected_events")) == 60
    assert ids(pipeline, "rejected_events", EIGHT) == []
    assert withheld.events() == {EIGHT: 60}
    summary = withheld.summary(SEVEN)
    assert summary.released_until is not None
    assert summary.released_until > datetime.now(UTC) + timedelta(minutes=4)


def test_when_the_release_is_over_refusals_are_withheld_again(
    pipeline: Pipeline, withheld: WithheldEvents, until: Any
) -> None:
    pipeline.push(*bad(20))
    pipeline.drain()
    withheld.release(SEVEN, timedelta(milliseconds=1))
    until(lambda: not withheld.released({SEVEN}))

    pipeline.drain()

    assert withheld.events() == {SEVEN: 20}
    assert ids(pipeline, "rejected_events") == []


def test_the_watchdog_brings_events_back_once_a_period_and_wakes_the_stage(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    pipeline.push(*bad(20))
    pipeline.drain()
    watchdogs = [BringBack(withheld, Waker(pipeline.redis, liveness_seconds=30)) for _ in range(2)]

    watchdogs[0].enqueue(pipeline.redis)

    assert depth(pipeline.redis) == {lane_of(SEVEN): 20}
    assert job_queue("ingest", pipeline.redis).count == 1
    pipeline.drain()
    for watchdog in watchdogs:
        watchdog.enqueue(pipeline.redis)
    assert depth(pipeline.redis) == {}


def test_a_worker_brings_events_back_as_it_starts_and_then_no_more(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    pipeline.push(*bad(20))
    pipeline.drain()
    stages = Stages(pipeline.services())

    stages.build("ingest", "drain-1")
    assert depth(pipeline.redis) == {lane_of(SEVEN): 20}
    pipeline.drain()
    stages.build("ingest", "drain-2")

    assert (depth(pipeline.redis), withheld.events()) == ({}, {SEVEN: 20})


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
        patch.setattr("worker.preparation.validate", _broken_for("e"))
        pipeline.push(*(event(f"e{number}") for number in range(GRACE + 1)), *good(10))
        with capture_logs():  # rendering a trace takes long
            pipeline.drain()
    assert withheld.events() == {SEVEN: GRACE + 1}
    assert ids(pipeline, "rejected_events") == []

    new_code(pipeline)
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
    _drain(stage)

    assert ids(pipeline, "rejected_events") == ["invalid0", "invalid1"]
    assert withheld.events() == {SEVEN: 30}
    assert len(ids(pipeline, "events")) == 3
    withheld.bring_some_back()
    pipeline.drain()
    assert len(ids(pipeline, "events")) == 33


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
            _drain(dead)
    assert depth(pipeline.redis)

    heir = pipeline.stage("heir")
    heir.rescue({"heir"})
    _drain(heir)

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


def _broken_for(prefix: str) -> Callable[..., Any]:
    def broken(tenant_id: int, record: Record, *arguments: Any, **options: Any) -> Any:
        if record.event_id.startswith(prefix):
            raise ZeroDivisionError
        return validate(tenant_id, record, *arguments, **options)

    return broken


def _drain(stage: Any) -> None:
    while stage.step(0):
        pass


def _die(*_: Any) -> None:
    raise KeyboardInterrupt
