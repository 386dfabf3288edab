"""Our RQ worker: ``rq worker QUEUE`` with RQ_WORKER_CLASS=worker.worker.DrainWorker."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

import redis.exceptions
import structlog
from prometheus_client import start_http_server
from redis.backoff import ExponentialBackoff
from redis.client import Pipeline
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq import worker_registration as rq_workers
from rq.exceptions import StopRequested
from rq.job import JOB_ID_PATTERN, Job
from rq.serializers import JSONSerializer
from rq.utils import now as utc_now
from rq.worker import WorkerStatus

from common.errors import QueueUnavailableError, SettingsError
from common.interpreter import settle
from common.logging import configure_logging
from common.metrics import Metrics
from common.production import check_production
from common.queue.backlog import measure_lanes, measure_outbox
from common.services import Services, open_services
from common.settings import Settings, load_settings
from common.tracing.opening import check_tracing
from worker.cron import MAINTENANCE_QUEUE, WATCHED_QUEUES, Watchdog
from worker.measuring.measuring import Measuring, measurements
from worker.own_job import OwnJob
from worker.stages import Stages
from worker.startup import verify

# RQ tells its own heartbeat by this: an idle worker shows life every 15 seconds and counts as gone after 90.
_WORKER_TTL_SECONDS = 30

YOUNG_OBJECTS = 200_000
"""For `settle`: two batches of events, parsed and projected, are about a hundred thousand. What is in cycles may be as
large, so drains collect after each failure (`common.drain`)."""

log = structlog.get_logger(__name__)


class DrainWorker(SimpleWorker):
    """Runs drains in its own process: it does not fork, and runs no jobs but ours (`OwnJob`).

    Beside its jobs it serves ``/metrics``, and runs the cron schedule of its queues, which wakes each stage that
    has no live drain. It waits for servers that are away, Redis too, for as long as they are.

    The first SIGTERM or SIGINT lets it finish the batch in work, and end with status 0; a second one, a second
    or more later, cuts the batch off. Either way what it had taken and not stored is free for others at once.
    """

    def __init__(self, queues: Sequence[Any], *args: Any, **options: Any) -> None:
        connection = options["connection"]
        options |= {
            "job_class": OwnJob,
            "serializer": JSONSerializer,
            "worker_ttl": _WORKER_TTL_SECONDS,
            "default_worker_ttl": None,
        }
        # The command line made the queues with RQ's default serializer, which is pickle; by names, RQ makes them anew.
        names = [queue if isinstance(queue, str) else queue.name for queue in queues]
        super().__init__(names, *args, **options)
        connection.set_retry(_RetryUntilStopped(lambda: self._stop_requested))
        self._services: Services | None = None
        self._stages: Stages | None = None

    @property
    def services(self) -> Services:
        """The services of this process; they exist while `work` runs."""
        if self._services is None:
            raise RuntimeError("the worker is not at work, so it has no services")
        return self._services

    @property
    def stages(self) -> Stages:
        """What builds the stages of this process; it exists while `work` runs."""
        if self._stages is None:
            raise RuntimeError("the worker is not at work, so it has no stages")
        return self._stages

    def stop_requested(self) -> bool:
        """Whether a signal asked the worker to finish; drains ask between batches."""
        return self._stop_requested

    def work(self, *args: Any, **options: Any) -> bool:
        """Work until stopped; see `rq.worker.BaseWorker.work`.

        Raises:
            SystemExit: the settings are wrong or a server cannot be used; the message says what to do.
        """
        # RQ does so too, but only once its loop begins.
        self._install_signal_handlers()  # type: ignore[no-untyped-call]
        try:
            with self._equipped():
                return super().work(*args, **options)
        except Exception as error:
            # Asked to stop before RQ's loop began, or while Redis was away: RQ then forgets us in time.
            if not self._stop_requested or not _comes_of_a_stop(error):
                raise
            return False
        finally:
            log.info("worker_stopped")

    def get_heartbeat_ttl(self, job: Job) -> int:  # noqa: ARG002  # all jobs are alike
        """How long this worker counts as alive while it runs `job`: a drain's budget, and a margin, in seconds."""
        return int(self.services.settings.drain_budget_seconds) + 60

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Show life, and register again: RQ strikes off who was silent for long, as in an outage of Redis."""
        super().heartbeat(timeout, pipeline)
        rq_workers.register(self, pipeline)

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """The next job and its queue, or None; ids that are none are passed over."""
        while True:
            try:
                return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
            except ValueError:
                # With several queues RQ pops an id; with one it moves it aside, and would stumble over it again.
                if not self._remove_bad_ids() and len(self.queues) == 1:
                    raise

    def run_maintenance_tasks(self) -> None:
        """RQ's own housekeeping. What it stumbles over in Redis must not end the worker."""
        try:
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        except (redis.exceptions.RedisError, StopRequested):
            raise
        except Exception:
            log.exception("rq_maintenance_failed")
            self._remove_bad_ids()
            self.last_cleaned_at = utc_now()  # type: ignore[assignment]  # RQ's annotation knows the first value

    def _remove_bad_ids(self) -> int:
        """Clear away what RQ has taken from its queues and cannot look up; returns how many that were."""
        removed = 0
        for queue in self.queues:
            for job_id in cast("list[bytes]", self.connection.lrange(queue.intermediate_queue_key, 0, -1)):
                if not JOB_ID_PATTERN.fullmatch(job_id.decode("ascii", "replace")):
                    log.error("job_refused", job_id=repr(job_id[:100]), why="this is no id of a job")
                    OwnJob.count_refused()
                    removed += self.connection.lrem(queue.intermediate_queue_key, 1, job_id)  # type: ignore[arg-type]
        return removed

    def _shutdown(self) -> None:
        # RQ would ask Redis from within the signal handler, and fail in the middle of a batch if it is away.
        self._stop_requested = True
        if self.get_state() != WorkerStatus.BUSY:
            raise StopRequested

    @contextmanager
    def _equipped(self) -> Iterator[None]:
        """Have services, metrics and watchdog while the context lasts."""
        global _current  # noqa: PLW0603  # RQ calls job functions by name, so they have to find their worker
        try:
            settings = load_settings()
            configure_logging(settings.log_level, settings.log_format)
            check_production(settings, rq_redis_url=os.environ.get("RQ_REDIS_URL"))
            check_tracing(settings)
        except SettingsError as error:
            sys.exit(f"The worker cannot start: {error.detail}")
        _adopt_rq_loggers()
        queues = self.queue_names()
        structlog.contextvars.bind_contextvars(worker=self.name, queues=",".join(queues))
        log.info("worker_starting", settings=settings.masked())
        with ExitStack() as stack:
            services = stack.enter_context(
                open_services(settings, application=f"sspp-worker-{'-'.join(queues)}")
            )
            try:
                verify(services)
            except SettingsError as error:
                sys.exit(f"The worker cannot start: {error.detail}")
            services.metrics.before_scrape(lambda: measure_lanes(services.redis, services.metrics))
            services.metrics.before_scrape(lambda: measure_outbox(services.pool, services.metrics))
            stack.enter_context(_metrics_served(services.metrics, settings))
            stack.enter_context(Watchdog(services, queues))
            if MAINTENANCE_QUEUE in queues:
                stack.enter_context(Measuring(measurements(services), services.metrics))
            settle(young_objects=YOUNG_OBJECTS)
            OwnJob.count_refused = partial(services.metrics.count, "sspp_jobs_refused_total")
            self._services, self._stages, _current = services, Stages(services), self
            try:
                self._wake_stages()  # what a killed fleet left needs no other sign
                yield
            finally:
                if self._stop_requested:
                    self._wake_stages()  # in place of a wake-up that was taken and not begun
                self._services = self._stages = _current = None

    def _wake_stages(self) -> None:
        """Have a drain look for work, here or elsewhere."""
        for queue in self.queue_names():
            try:
                if queue in WATCHED_QUEUES:
                    self.services.waker.enqueue_unless_queued(queue)
            except QueueUnavailableError as error:
                log.warning("wake_up_failed", queue=queue, detail=error.detail)


def _comes_of_a_stop(error: BaseException) -> bool:
    """Whether `error` is what becomes of a stop, or of Redis being away during one.

    The signal's handler raises wherever it interrupts, and what cleans up there may fail in turn: the start of a
    thread, interrupted when the thread runs already, ends with a KeyError.
    """
    cause: BaseException | None = error
    while cause and not isinstance(cause, StopRequested):
        cause = cause.__context__
    lost = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
    return cause is not None or isinstance(error, lost)


_current: DrainWorker | None = None


def current_worker() -> DrainWorker:
    """The worker of this process, which runs the job that asks."""
    if _current is None:
        raise RuntimeError(
            "this job runs outside of a DrainWorker; start it with RQ_WORKER_CLASS set, see .env.example"
        )
    return _current


class _RetryUntilStopped(Retry):
    """Lets RQ wait for Redis while it is away, until the worker is to stop; by itself RQ gives up and ends.

    A supervisor would start it again, but after ever longer pauses, as Kubernetes has them.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        super().__init__(ExponentialBackoff(cap=1.0, base=0.1), retries=-1)
        self._stop = stop

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002  # redis-py calls it so
    ) -> Any:
        """See `redis.retry.Retry`."""

        def worth_it(error: Exception) -> bool:
            return not self._stop() and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, worth_it, with_failure_count)


@contextmanager
def _metrics_served(metrics: Metrics, settings: Settings) -> Iterator[None]:
    host, port = settings.worker_metrics_host, settings.worker_metrics_port
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        sys.exit(f"The worker cannot start: SSPP_WORKER_METRICS_PORT={port}: {error.strerror}")
    log.info("metrics_served", host=host, port=server.server_port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _adopt_rq_loggers() -> None:
    """Let RQ's lines through our formatter, and only those that matter: a drain logs its own work."""
    for name in ("rq.worker", "rq.job", "rq.queue", "rq.cron", "rq.scheduler"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
