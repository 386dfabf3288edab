"""Jobs that do nothing, in RQ's SimpleWorker, and how long each takes: what a queue costs by itself."""

import random
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from redis import Redis
from rq import Queue

from common.redis import open_redis
from infrastructure.local.process import Command
from suite.bench import Bench, Place
from suite.noop_job import do_nothing

UNCOUNTED_SECONDS = 2
"""For which jobs run before those that count."""

_QUEUE = "bench-noop"
_PAUSE_SECONDS = 0.02  # the worker is done with what it does after a job, and waits for the next
_POLL_SECONDS = 0.0005
_ASKED_AT_ONCE = 4  # one is at work, the others wait
_BENCH = Path(__file__).parents[1]


def one_at_a_time(bench: Bench, place: Place, seconds: int) -> list[float]:
    """Enqueue a job, wait until it is finished, pause, and so on, for `seconds`.

    Returns:
        The seconds from the call of `enqueue` until each job is seen to be finished.
    """
    taken: list[float] = []
    with _worker(bench, place) as (queue, redis):
        count_from = time.monotonic() + UNCOUNTED_SECONDS
        while (called := time.monotonic()) < count_from + seconds:
            key = queue.enqueue(do_nothing).key
            while not any(_are_finished(redis, [key])):
                time.sleep(_POLL_SECONDS)
            if called >= count_from:
                taken.append(time.monotonic() - called)
            time.sleep(_PAUSE_SECONDS)
    return taken


def at_random(bench: Bench, place: Place, seconds: int, *, per_second: int) -> list[float]:
    """Enqueue jobs when they fall due, whatever became of the earlier ones: Poisson arrivals, for `seconds`.

    Returns:
        The seconds from when each fell due until it is seen to be finished.
    """
    chance = random.Random(per_second)
    count = (seconds + UNCOUNTED_SECONDS) * per_second
    pauses = (chance.expovariate(per_second) for _ in range(count))
    taken: list[float] = []
    with _worker(bench, place) as (queue, redis):
        begun = time.monotonic()
        due = deque(begun + offset for offset in accumulate(pauses))
        unfinished: dict[bytes, float] = {}
        while due or unfinished:
            while due and due[0] <= time.monotonic():
                instant = due.popleft()
                unfinished[queue.enqueue(do_nothing).key] = instant
            oldest = list(islice(unfinished, _ASKED_AT_ONCE))
            found = _are_finished(redis, oldest)
            now = time.monotonic()
            for key, is_finished in zip(oldest, found, strict=True):
                if is_finished:
                    taken.append(now - unfinished.pop(key))
            time.sleep(_POLL_SECONDS)
    return taken[UNCOUNTED_SECONDS * per_second :]


def _are_finished(redis: Redis, keys: Sequence[bytes]) -> list[bool]:
    statuses: Any = redis.pipeline(transaction=False)
    for key in keys:
        statuses.hget(key, "status")
    return [status == b"finished" for status in statuses.execute()]


@contextmanager
def _worker(bench: Bench, place: Place) -> Iterator[tuple[Queue, Redis]]:
    """A SimpleWorker, run as its documentation has it; its queue, and its Redis."""
    environment = bench.environment(place) | {"PYTHONPATH": str(_BENCH)}
    del environment["RQ_WORKER_CLASS"]  # the documented option names the class
    rq = str(Path(sys.executable).with_name("rq"))
    worker = Command(
        "rq-noop", (rq, "worker", "--worker-class", "rq.worker.SimpleWorker", _QUEUE), environment
    )
    with bench.processes([worker]), open_redis(place.redis_url) as redis:
        yield Queue(_QUEUE, connection=redis), redis
