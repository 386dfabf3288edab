"""Our RQ worker: ``rq worker QUEUE`` with RQ_WORKER_CLASS=worker.worker.DrainWorker."""

import logging
import sys
from collections.abc import Sequence
from typing import Any

import structlog
from prometheus_client import start_http_server
from rq import SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from common.backlog import measure_lanes, measure_outbox
from common.errors import SettingsError
from common.logging import configure_logging
from common.services import Services, open_services
from common.settings import load_settings
from common.wakeup import job_queue
from worker.cron import Watchdog
from worker.stages import Stages
from worker.startup import verify

MAINTENANCE_QUEUE = "maintenance"

# RQ tells its own heartbeat by this: an idle worker shows life every 15 seconds and counts as gone after 90.
_WORKER_TTL_SECONDS = 30

log = structlog.get_logger(__name__)


class DrainWorker(SimpleWorker):
    """Runs drains in its own process: it does not fork, and its jobs are JSON.

    Beside its jobs it serves ``/metrics``, and, when it listens to the maintenance queue, it runs the cron
    schedule that wakes each stage that has no live drain.
    """

    def __init__(self, queues: Sequence[Any], *args: Any, **options: Any) -> None:
        connection = options["connection"]
        options |= {
            "serializer": JSONSerializer,
            "worker_ttl": _WORKER_TTL_SECONDS,
            "default_worker_ttl": None,
        }
        # The command line made the queues with RQ's default serializer, which is pickle.
        names = [queue if isinstance(queue, str) else queue.name for queue in queues]
        super().__init__([job_queue(name, connection) for name in names], *args, **options)
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
            SystemExit: the settings are wrong or Redis cannot be used; the message says what to do.
        """
        global _current  # noqa: PLW0603  # RQ calls job functions by name, so they have to find their worker
        try:
            settings = load_settings()
        except SettingsError as error:
            sys.exit(f"The worker cannot start: {error.detail}")
        configure_logging(settings.log_level, settings.log_format)
        _adopt_rq_loggers()
        queues = self.queue_names()
        structlog.contextvars.bind_contextvars(worker=self.name, queues=",".join(queues))
        log.info("worker_starting", settings=settings.masked())
        with open_services(settings, application=f"sspp-worker-{'-'.join(queues)}") as services:
            try:
                verify(services)
            except SettingsError as error:
                sys.exit(f"The worker cannot start: {error.detail}")
            self._services, self._stages, _current = services, Stages(services), self
            services.metrics.before_scrape(lambda: measure_lanes(services.redis, services.metrics))
            services.metrics.before_scrape(lambda: measure_outbox(services.pool, services.metrics))
            try:
                server, thread = start_http_server(
                    settings.worker_metrics_port, settings.worker_metrics_host, services.metrics.registry
                )
            except OSError as error:
                port = settings.worker_metrics_port
                sys.exit(f"The worker cannot start: SSPP_WORKER_METRICS_PORT={port}: {error.strerror}")
            log.info("metrics_served", host=settings.worker_metrics_host, port=server.server_port)
            watchdog = Watchdog(services) if MAINTENANCE_QUEUE in queues else None
            if watchdog:
                watchdog.start()
            try:
                return super().work(*args, **options)
            finally:
                if watchdog:
                    watchdog.stop()
                server.shutdown()
                server.server_close()
                thread.join()
                self._services = self._stages = _current = None
                log.info("worker_stopped")

    def get_heartbeat_ttl(self, job: Job) -> int:  # noqa: ARG002  # all jobs are alike
        """How long this worker counts as alive while it runs `job`: a drain's budget, and a margin, in seconds."""
        return int(self.services.settings.drain_budget_seconds) + 60


_current: DrainWorker | None = None


def current_worker() -> DrainWorker:
    """The worker of this process, which runs the job that asks."""
    if _current is None:
        raise RuntimeError(
            "this job runs outside of a DrainWorker; start it with RQ_WORKER_CLASS set, see .env.example"
        )
    return _current


def _adopt_rq_loggers() -> None:
    """Let RQ's lines through our formatter, and only those that matter: a drain logs its own work."""
    for name in ("rq.worker", "rq.job", "rq.queue", "rq.cron", "rq.scheduler"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
