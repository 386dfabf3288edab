"""The watchdog: RQ's cron schedule, which wakes what sleeps, retries what is withheld and keeps the stores in shape."""

import math
import threading
from collections.abc import Collection
from datetime import datetime
from time import monotonic
from typing import Self

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq.cron import CronJob, CronScheduler
from rq.job import Job

from common.errors import QueueUnavailableError
from common.queue.withheld import WithheldEvents
from common.services import Services
from common.wakeup import Waker, job_queue

MAINTENANCE_QUEUE = "maintenance"
WATCHED_QUEUES = ("ingest", "index", MAINTENANCE_QUEUE)
WATCH_SECONDS = 3
UPKEEP_SECONDS = 600
BRING_BACK_SECONDS = 120

_UPKEEP_JOB = "worker.jobs.upkeep"
_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Watchdog(CronScheduler):
    """Runs the schedule of a worker's queues in a thread of it, for as long as the context lasts.

    Each worker watches its own stages, a maintenance worker watches all and has the stores looked after. So
    several watch the same: marks in Redis make everything happen once per period.
    """

    def __init__(self, services: Services, queues: Collection[str]) -> None:
        super().__init__(services.redis)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        upkeep = MAINTENANCE_QUEUE in queues
        self._cron_jobs = [
            *(WakeUp(queue, services.waker) for queue in WATCHED_QUEUES if upkeep or queue in queues),
            *([BringBack(WithheldEvents(services.redis), services.waker), Upkeep()] if upkeep else []),
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def calculate_sleep_interval(self) -> float:
        """Seconds until the next job is due."""
        soonest = min((job.due for job in self._cron_jobs if isinstance(job, PeriodicJob)), default=math.inf)
        return min(max(0.0, soonest - monotonic()), WATCH_SECONDS)

    def _run(self) -> None:
        pause = 0.0
        while not self._done.wait(pause):
            try:
                self.enqueue_jobs()
                pause = self.calculate_sleep_interval()
            except (QueueUnavailableError, RedisError) as error:
                log.warning("watchdog_waits_for_redis", detail=str(error))
                pause = _RETRY_SECONDS
            except Exception:  # the last one to look after lost work must not die of a surprise
                log.exception("watchdog_stumbled")
                pause = _RETRY_SECONDS


class PeriodicJob(CronJob):
    """A job of an interval, by a clock that nobody can set: RQ's would be silent while the time is set back."""

    due = -math.inf
    """When it is to run, by the monotonic clock, in seconds."""

    def should_run(self) -> bool:
        """Whether it is due."""
        return monotonic() >= self.due

    def set_enqueue_time(self, time: datetime) -> None:
        """It ran just now."""
        super().set_enqueue_time(time)
        self.due = monotonic() + (self.interval or 0)


class WakeUp(PeriodicJob):
    """Wakes a stage's drain, unless one is awake. A drain that finds nothing ends at once."""

    def __init__(self, queue: str, waker: Waker) -> None:
        super().__init__(queue, func_name=f"wake {queue}", interval=WATCH_SECONDS)
        self._waker = waker

    def enqueue(self, connection: Redis) -> Job | None:  # type: ignore[override]  # noqa: ARG002  # RQ ignores it
        """Wake the drain; nothing is enqueued while one is awake."""
        self._waker.wake(self.queue_name)
        return None


class BringBack(PeriodicJob):
    """Brings some withheld events back into the lanes, once per period: their fault may be mended by now."""

    def __init__(self, withheld: WithheldEvents, waker: Waker) -> None:
        super().__init__("ingest", func_name="bring withheld events back", interval=BRING_BACK_SECONDS)
        self._withheld = withheld
        self._waker = waker

    def enqueue(self, connection: Redis) -> Job | None:  # type: ignore[override]  # RQ ignores what it returns
        """Bring some back unless that was done in this period already; only the wake-up is enqueued."""
        if not connection.set("sspp:cron:bring-back", 1, nx=True, ex=BRING_BACK_SECONDS - 5):
            return None
        if events := self._withheld.bring_some_back():
            log.info("withheld_events_brought_back", events=events)
            self._waker.wake(self.queue_name)
        return None


class Upkeep(PeriodicJob):
    """Enqueues the upkeep of the database, once per period however many watchdogs run."""

    def __init__(self) -> None:
        super().__init__(MAINTENANCE_QUEUE, func_name=_UPKEEP_JOB, interval=UPKEEP_SECONDS)

    def enqueue(self, connection: Redis) -> Job | None:  # type: ignore[override]  # RQ ignores what it returns
        """Enqueue the job unless this period's is enqueued already."""
        if not connection.set("sspp:cron:upkeep", 1, nx=True, ex=UPKEEP_SECONDS - 5):
            return None
        queue = job_queue(self.queue_name, connection)
        # No time limit: an index of a large month takes what it takes, and one cut off would begin anew for ever.
        return queue.enqueue_call(
            _UPKEEP_JOB, timeout=-1, ttl=UPKEEP_SECONDS, result_ttl=0, failure_ttl=UPKEEP_SECONDS
        )
