"""The watchdog: RQ's cron schedule, which wakes each stage that has no live drain, and keeps the stores in shape."""

import threading

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq.cron import CronJob, CronScheduler
from rq.job import Job

from common.errors import QueueUnavailableError
from common.services import Services
from common.wakeup import Waker, job_queue

WATCHED_QUEUES = ("ingest", "index")
WATCH_SECONDS = 3
UPKEEP_SECONDS = 600

_UPKEEP_JOB = "worker.jobs.upkeep"
_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Watchdog(CronScheduler):
    """Runs the schedule in a thread of a maintenance worker.

    Several may run at once: marks in Redis make each wake-up and each upkeep happen once per period.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services.redis)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._cron_jobs = [
            *(WakeUp(queue, services.waker) for queue in WATCHED_QUEUES),
            Upkeep(),
        ]

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the end."""
        self._done.set()
        self._thread.join()

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


class WakeUp(CronJob):
    """Wakes a stage's drain, unless one is awake. A drain that finds nothing ends at once."""

    def __init__(self, queue: str, waker: Waker) -> None:
        super().__init__(queue, func_name=f"wake {queue}", interval=WATCH_SECONDS)
        self._waker = waker

    def enqueue(self, connection: Redis) -> Job | None:  # type: ignore[override]  # noqa: ARG002  # RQ ignores it
        """Wake the drain; nothing is enqueued while one is awake."""
        self._waker.wake(self.queue_name)
        return None


class Upkeep(CronJob):
    """Enqueues the upkeep of the database, once per period however many watchdogs run."""

    def __init__(self) -> None:
        super().__init__("maintenance", func_name=_UPKEEP_JOB, interval=UPKEEP_SECONDS)

    def enqueue(self, connection: Redis) -> Job | None:  # type: ignore[override]  # RQ ignores what it returns
        """Enqueue the job unless this period's is enqueued already."""
        if not connection.set("sspp:cron:upkeep", 1, nx=True, ex=UPKEEP_SECONDS - 5):
            return None
        queue = job_queue(self.queue_name, connection)
        # No time limit: an index of a large month takes what it takes, and one cut off would begin anew for ever.
        return queue.enqueue_call(_UPKEEP_JOB, timeout=-1, ttl=UPKEEP_SECONDS, result_ttl=0)
