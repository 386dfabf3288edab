"""How withheld events come back: brought back to be judged again, or released to be refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from withholding import EIGHT, GRACE, SEVEN, Pipeline, bad, event, good, ids, new_guard, register_visit

from common.queue.streams import depth, lane_of
from common.queue.withheld import WithheldEvents
from common.wakeup import Waker, job_queue
from worker.cron import BringBack
from worker.stages import Stages

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
pytestmark = pytest.mark.usefixtures("guarded")


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


@pytest.mark.usefixtures("twenty_withheld")
def test_withheld_events_that_are_no_better_are_withheld_again_by_any_worker(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    for _ in range(3):
        new_guard(pipeline)
        withheld.bring_some_back()
        # Few enough for a guard that has just begun to let them pass: it must not.
        pipeline.drain()

    assert (withheld.events(), ids(pipeline, "rejected_events")) == ({SEVEN: 20}, [])


@pytest.mark.usefixtures("twenty_withheld")
def test_a_withheld_event_is_not_refused_when_the_guard_has_calmed_down(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
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


@pytest.mark.usefixtures("twenty_withheld")
def test_when_the_release_is_over_refusals_are_withheld_again(
    pipeline: Pipeline, withheld: WithheldEvents, until: Any
) -> None:
    withheld.release(SEVEN, timedelta(milliseconds=1))
    until(lambda: not withheld.released({SEVEN}))

    pipeline.drain()

    assert (withheld.events(), ids(pipeline, "rejected_events")) == ({SEVEN: 20}, [])


@pytest.mark.usefixtures("twenty_withheld")
def test_the_watchdog_brings_events_back_once_a_period_and_wakes_the_stage(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    watchdogs = [BringBack(withheld, Waker(pipeline.redis, liveness_seconds=30)) for _ in range(2)]

    watchdogs[0].enqueue(pipeline.redis)

    assert depth(pipeline.redis) == {lane_of(SEVEN): 20}
    assert job_queue("ingest", pipeline.redis).count == 1
    pipeline.drain()
    for watchdog in watchdogs:
        watchdog.enqueue(pipeline.redis)
    assert depth(pipeline.redis) == {}


@pytest.mark.usefixtures("twenty_withheld")
def test_a_worker_brings_events_back_as_it_starts_and_then_no_more(
    pipeline: Pipeline, withheld: WithheldEvents
) -> None:
    stages = Stages(pipeline.services())

    stages.build("ingest", "drain-1")
    assert depth(pipeline.redis) == {lane_of(SEVEN): 20}
    pipeline.drain()
    stages.build("ingest", "drain-2")

    assert (depth(pipeline.redis), withheld.events()) == ({}, {SEVEN: 20})
