"""The drain on a real Redis: what it does with its stage, and when it ends."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from probing import QUEUE, ProbeStage, queued
from redis import Redis

from common.drain import Drain
from common.errors import DatabaseUnavailableError
from common.metrics import Metrics
from common.wakeup import Presence


def test_a_drain_works_until_nothing_is_left(drain: Callable[..., Drain]) -> None:
    stage = ProbeStage(3, 4)

    assert drain(stage).run() == 7
    assert stage.closed == 1


def test_a_drain_lingers_for_what_comes_while_it_is_idle(drain: Callable[..., Drain]) -> None:
    stage = ProbeStage(1)
    stage.work.append(lambda: 0)
    stage.work.append(5)

    assert drain(stage, drain_linger_seconds=5, stop=lambda: stage.steps >= 3).run() == 6


def test_a_drain_that_was_woken_for_nothing_does_not_linger(drain: Callable[..., Drain]) -> None:
    stage = ProbeStage()

    assert drain(stage, drain_linger_seconds=600).run() == 0
    assert stage.steps == 1


def test_a_failure_that_nobody_foresaw_is_counted_and_tried_again_after_a_pause(
    drain: Callable[..., Drain],
) -> None:
    """Otherwise whoever wakes drains, for each new batch perhaps, would have them fail as often and as fast."""
    stage, metrics = ProbeStage(RuntimeError("a bug"), 2), Metrics()

    assert drain(stage, metrics=metrics).run() == 2

    labels = {"stage": QUEUE, "code": "internal_error"}
    assert metrics.registry.get_sample_value("sspp_drain_errors_total", labels) == 1


def test_a_passing_failure_is_tried_again_and_loses_nothing(drain: Callable[..., Drain]) -> None:
    stage = ProbeStage(DatabaseUnavailableError(), DatabaseUnavailableError(), 2)

    assert drain(stage).run() == 2


def test_a_drain_ends_when_a_stop_is_asked_for_and_wakes_another_for_the_rest(
    drain: Callable[..., Drain], client: Redis
) -> None:
    stage = ProbeStage(1, 1, 1)

    assert drain(stage, stop=lambda: stage.steps >= 2).run() == 2
    assert queued(client) == 1


def test_a_drain_ends_with_its_budget_and_wakes_another_for_the_rest(
    drain: Callable[..., Drain], client: Redis
) -> None:
    stage = ProbeStage(*[lambda: threading.Event().wait(0.01) or 1] * 1000)

    drain(stage, drain_budget_seconds=0.1).run()

    assert stage.work
    assert queued(client) == 1


def test_a_stop_is_heard_during_the_pause_after_a_failure(
    drain: Callable[..., Drain], until: Callable[..., Any]
) -> None:
    stopping = threading.Event()
    stage = ProbeStage(*[DatabaseUnavailableError()] * 50)
    runner = threading.Thread(target=drain(stage, stop=stopping.is_set).run)
    runner.start()
    until(lambda: stage.steps >= 4)
    stopping.set()

    until(lambda: not runner.is_alive())
    assert stage.work


def test_a_drain_that_is_cut_off_leaves_nothing_behind(drain: Callable[..., Drain], client: Redis) -> None:
    def second_signal() -> int:
        raise SystemExit

    with pytest.raises(SystemExit):
        drain(stage := ProbeStage(second_signal)).run()

    assert stage.closed == 1
    assert not list(client.scan_iter("sspp:drain*"))


def test_a_drain_shows_life_while_one_step_takes_long(
    drain: Callable[..., Drain], client: Redis, until: Callable[..., Any]
) -> None:
    seen: list[set[str]] = []
    other = Presence(client, QUEUE, "other", liveness_seconds=1)

    def long_step() -> int:
        threading.Event().wait(2.0)
        seen.append(other.live())
        return 1

    drain(ProbeStage(long_step), liveness_seconds=1).run()

    assert seen == [{"me"}]


def test_the_rescue_is_told_who_lives(drain: Callable[..., Drain], client: Redis) -> None:
    client.sadd(f"sspp:drains:{QUEUE}", "dead")
    with Presence(client, QUEUE, "neighbour", liveness_seconds=30):
        stage = ProbeStage(1)
        drain(stage).run()

    assert stage.rescued[0] == {"me", "neighbour"}
    assert client.smembers(f"sspp:drains:{QUEUE}") == set()


def test_a_stage_with_full_hands_is_asked_to_rescue_after_every_step(
    drain: Callable[..., Drain], client: Redis
) -> None:
    stage = ProbeStage(1, 1, 1, 1)
    stage.hands_full_until = 2

    drain(stage, stop=lambda: stage.steps == 4).run()

    assert len(stage.rescued) == 3
