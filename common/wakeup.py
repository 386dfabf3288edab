"""The marks in Redis by which work finds workers: who is awake, who lives, and how to wake the rest.

All of them expire by Redis's own clock, so that machines need not agree on the time:

- ``sspp:awake:<queue>``: someone was woken or is at work; whoever adds work enqueues a drain only if it is unset.
- ``sspp:drain:<queue>:<name>``: this drain lives. When it expires, others take over what the drain had taken.
- ``sspp:drains:<queue>``: the names to look for.
"""

import threading
from typing import Self, cast

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq import worker_registration as rq_workers
from rq.serializers import JSONSerializer

from common.errors import QueueUnavailableError
from common.redis import translated_errors

JOB = "worker.jobs.drain"
"""The RQ job function that runs the drain of the queue named in its only argument."""

_FAILURE_LIFETIME_SECONDS = 3600

log = structlog.get_logger(__name__)


def awake_key(queue: str) -> str:
    """The mark that says that a drain of `queue` was woken or is at work."""
    return f"sspp:awake:{queue}"


def job_queue(queue: str, client: Redis) -> Queue:
    """The RQ queue of that name; its jobs are JSON, never pickle."""
    return Queue(queue, connection=client, serializer=JSONSerializer)


def live_workers(client: Redis, queue: str) -> int:
    """How many RQ workers listen to `queue`; a dead one counts until its key in Redis expires."""
    with translated_errors():
        keys = rq_workers.get_keys(job_queue(queue, client))
        return int(client.exists(*keys)) if keys else 0


class Waker:
    """Wakes the drains of a queue, at most once per `liveness_seconds` while one is awake."""

    def __init__(self, client: Redis, *, liveness_seconds: float) -> None:
        self._redis = client
        self._liveness_milliseconds = int(liveness_seconds * 1000)

    def wake(self, queue: str) -> bool:
        """Enqueue a drain unless one is awake; True if it was enqueued.

        Losing the wake-up, by a crash between the two commands or of Redis, delays the work until the watchdog
        comes by after the mark has expired; it loses nothing.
        """
        with translated_errors():
            if not self._redis.set(awake_key(queue), 1, nx=True, px=self._liveness_milliseconds):
                return False
        return self.enqueue_unless_queued(queue)

    def enqueue_unless_queued(self, queue: str) -> bool:
        """Enqueue a drain unless a wake-up lies in the queue already: without workers they must not pile up."""
        with translated_errors():
            if job_queue(queue, self._redis).count:
                return False
        self.enqueue(queue)
        return True

    def enqueue(self, queue: str) -> None:
        """Enqueue a drain, whether or not one is awake or queued."""
        with translated_errors():
            job_queue(queue, self._redis).enqueue_call(
                JOB,
                args=(queue,),
                timeout=-1,
                result_ttl=0,
                failure_ttl=_FAILURE_LIFETIME_SECONDS,
                description=f"drain {queue}",
            )


class Presence:
    """A drain's sign of life, kept up by a thread so that a long transaction does not look like a death."""

    def __init__(self, client: Redis, queue: str, name: str, *, liveness_seconds: float) -> None:
        self._redis = client
        self._queue = queue
        self._name = name
        self._liveness_seconds = liveness_seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, name=f"presence-{queue}", daemon=True)

    def __enter__(self) -> Self:
        self._announce()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        try:
            with translated_errors():
                self._redis.delete(self._key(self._name))
                self._redis.srem(_names_key(self._queue), self._name)
                # Should all others be dead already, the mark must not outlive their signs of life: their work is
                # free from then on, and nobody else looks for it.
                if longest := max(self._life_left().values(), default=0):
                    self._redis.pexpire(awake_key(self._queue), longest)
                else:
                    self._redis.delete(awake_key(self._queue))
        except QueueUnavailableError as error:
            log.warning("presence_left_to_expire", stage=self._queue, detail=error.detail)

    def live(self) -> set[str]:
        """The names of the queue's drains that showed life within `liveness_seconds`; forgets the others."""
        with translated_errors():
            return set(self._life_left())

    def live_workers(self) -> int:
        """How many RQ workers listen to the queue; a dead one counts until its key in Redis expires."""
        return live_workers(self._redis, self._queue)

    def queued_jobs(self) -> int:
        """How many wake-ups wait in the RQ queue."""
        with translated_errors():
            return job_queue(self._queue, self._redis).count

    def _keep_alive(self) -> None:
        while not self._done.wait(self._liveness_seconds / 3):
            try:
                self._announce()
            except (QueueUnavailableError, RedisError) as error:  # whatever it is, the next beat may pass
                log.warning("heartbeat_failed", stage=self._queue, detail=str(error))

    def _announce(self) -> None:
        milliseconds = int(self._liveness_seconds * 1000)
        with translated_errors():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.set(self._key(self._name), 1, px=milliseconds)
            pipeline.sadd(_names_key(self._queue), self._name)
            pipeline.set(awake_key(self._queue), 1, px=milliseconds)
            pipeline.execute()

    def _life_left(self) -> dict[str, int]:
        """The queue's live drains, and for how many milliseconds each counts as alive without another sign."""
        members = cast("set[bytes]", self._redis.smembers(_names_key(self._queue)))
        names = sorted(member.decode() for member in members)
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.pttl(self._key(name))
        left = dict(zip(names, pipeline.execute(), strict=True))
        if gone := [name for name, milliseconds in left.items() if milliseconds <= 0]:
            self._redis.srem(_names_key(self._queue), *gone)
        return {name: milliseconds for name, milliseconds in left.items() if milliseconds > 0}

    def _key(self, name: str) -> str:
        return f"sspp:drain:{self._queue}:{name}"


def _names_key(queue: str) -> str:
    return f"sspp:drains:{queue}"
