"""A stage that counts what is done to it, for drains to work on."""

import threading
from collections import deque
from collections.abc import Callable

from redis import Redis

from common.wakeup import job_queue

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


def queued(client: Redis) -> int:
    """How many jobs wait for a worker of the stage's queue."""
    return job_queue(QUEUE, client).count
