"""The drain on a real Redis, with a stage that counts what is done to it."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from common.drain import Drain
from common.errors import DatabaseUnavailableError
from common.metrics import Metrics
from common.redis import open_redis
from common.settings import Settings, load_settings
from common.wakeup import JOB, Presence, Waker, awake_key, job_queue

QUEUE = "probe"


class ProbeStage:
    """A durable source in memory: `work` holds what steps will do, in order; numbers are items handled."""

    queue = QUEUE

    def __init__(self, *work: int | Exception | Callable[[], int]) -> None:
        self.work = deque(work)
        self.steps = 0
        self.rescued: list[set[str]] = []
        self.hands_full_until = 0
        self.closed = 0
        self.waiting: int | None = None

    def step(self, wait_seconds: float) -> int:
        self.steps += 1
        if not self.work:
            threading.Event().wait(wait_seconds)
            return 0
        item = self.work.popleft()
        if isinstance(item, Exception):
            raise item
        return item() if callable(item) else item

    def rescue(self, live: set[str]) -> int | None:
        self.rescued.append(live)
        return 0 if self.steps >= self.hands_full_until else None

    def backlog(self) -> int:
        return len(self.work) if self.waiting is None else self.waiting

    def finish(self) -> int:
        return 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with open_redis(redis_url) as client:
        yield client


@pytest.fixture
def waker(client: Redis) -> Waker:
    return Waker(client, liveness_seconds=30)


@pytest.fixture
def drain(client: Redis, waker: Waker, environment: dict[str, str]) -> Callable[..., Drain]:
    def build(
        stage: ProbeStage,
        *,
        stop: Callable[[], bool] = lambda: False,
        metrics: Metrics | None = None,
        **settings: Any,
    ) -> Drain:
        chosen = load_settings().model_copy(update={"drain_linger_seconds": 0.05} | settings)
        return Drain(
            stage,
            name="me",
            client=client,
            waker=waker,
            metrics=metrics or Metrics(),
            settings=_checked(chosen),
            stop=stop,
        )

    return build


def _checked(settings: Settings) -> Settings:
    return Settings.model_validate(settings.model_dump())


def queued(client: Redis) -> int:
    return job_queue(QUEUE, client).count


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


def test_a_passing_failure_is_tried_again_and_loses_nothing(drain: Callable[..., Drain]) -> None:
    stage = ProbeStage(DatabaseUnavailableError(), DatabaseUnavailableError(), 2)

    assert drain(stage).run() == 2


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


def test_a_stage_with_full_hands_is_asked_to_rescue_after_every_step(
    drain: Callable[..., Drain], client: Redis
) -> None:
    stage = ProbeStage(1, 1, 1, 1)
    stage.hands_full_until = 2

    drain(stage, stop=lambda: stage.steps == 4).run()

    assert len(stage.rescued) == 3


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
