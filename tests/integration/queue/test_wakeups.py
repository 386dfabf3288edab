"""Wake-ups on a real Redis: who is woken, by whom, and when nobody needs to be."""

from collections.abc import Callable
from typing import Any

import pytest
from probing import QUEUE, ProbeStage, queued
from redis import Redis

from common.drain import Drain
from common.wakeup import JOB, Presence, Waker, awake_key, job_queue


def test_many_wake_ups_make_one_job(client: Redis, waker: Waker) -> None:
    assert [waker.wake(QUEUE) for _ in range(5)] == [True, False, False, False, False]
    (job,) = job_queue(QUEUE, client).jobs
    assert (job.func_name, job.args) == (JOB, [QUEUE])


def test_a_lost_wake_up_is_made_good_once_the_mark_has_expired(
    client: Redis, until: Callable[..., Any]
) -> None:
    waker = Waker(client, liveness_seconds=0.2)
    waker.wake(QUEUE)
    job_queue(QUEUE, client).empty()

    assert until(lambda: waker.wake(QUEUE))
    assert queued(client) == 1


def test_nobody_is_woken_while_a_drain_is_at_work(
    drain: Callable[..., Drain], client: Redis, waker: Waker
) -> None:
    woken: list[bool] = []
    drain(ProbeStage(lambda: woken.append(waker.wake(QUEUE)) or 1)).run()

    assert woken == [False]


def test_an_idle_end_leaves_no_mark_and_no_job(drain: Callable[..., Drain], client: Redis) -> None:
    drain(ProbeStage(1)).run()

    assert queued(client) == 0
    assert not list(client.scan_iter("sspp:*"))


def test_work_that_came_after_the_last_look_is_not_forgotten(
    drain: Callable[..., Drain], client: Redis
) -> None:
    stage = ProbeStage(1)
    stage.waiting = 1  # added while the awake mark still stood, so its producer enqueued nothing

    drain(stage).run()

    assert queued(client) == 1


def test_one_end_of_two_drains_leaves_the_mark_to_the_other(
    drain: Callable[..., Drain], client: Redis
) -> None:
    with Presence(client, QUEUE, "other", liveness_seconds=30):
        drain(ProbeStage(1)).run()
        assert client.exists(awake_key(QUEUE))
    assert not client.exists(awake_key(QUEUE))


def test_the_mark_lasts_no_longer_than_the_last_sign_of_life_of_those_that_remain(
    drain: Callable[..., Drain], client: Redis
) -> None:
    # A dead drain, that still counts as alive; its work is nobody's until then.
    client.sadd(f"sspp:drains:{QUEUE}", "dead")
    client.set(f"sspp:drain:{QUEUE}:dead", 1, px=10_000)
    stage = ProbeStage(1)
    stage.waiting = 1

    drain(stage, liveness_seconds=600).run()

    assert 0 < client.pttl(awake_key(QUEUE)) <= 10_000


@pytest.mark.parametrize(("workers", "helpers"), [(1, 0), (3, 1)])
def test_a_long_queue_calls_free_workers_for_help(
    drain: Callable[..., Drain], client: Redis, workers: int, helpers: int
) -> None:
    for number in range(workers):
        client.sadd(f"rq:workers:{QUEUE}", f"rq:worker:{number}")
        client.set(f"rq:worker:{number}", 1)
    called: list[int] = []
    stage = ProbeStage(lambda: called.append(queued(client)) or 1)
    stage.waiting = 1_000_000

    drain(stage, stop=lambda: stage.steps >= 1).run()

    assert called == [helpers]
