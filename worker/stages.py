"""Which stage each queue's drains run, and what of it outlives a drain."""

from common.drain import Stage
from common.queue.withheld import WithheldEvents
from common.services import Services
from worker.domains import DOMAINS
from worker.erasure.stage import ErasureStage
from worker.index.stage import IndexStage
from worker.ingest.guard import GuardLimits, RefusalGuard
from worker.ingest.stage import IngestStage
from worker.store.batch import Store
from worker.validation.events import EventTypes


class Stages:
    """Builds the stages of one worker process. A later stage is one more method and one more entry."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._types = EventTypes(DOMAINS)
        limits = services.settings
        self._guard = RefusalGuard(
            GuardLimits(limits.max_refused_share, limits.refusal_grace, limits.refusal_window_seconds)
        )
        self._withheld_came_back = False
        self._builders = {"ingest": self._ingest, "index": self._index, "maintenance": self._maintenance}

    def build(self, queue: str, name: str) -> Stage:
        """The stage of `queue`, for a drain of that name.

        Raises:
            KeyError: no stage runs on this queue.
            QueueUnavailableError: Redis is away.
        """
        return self._builders[queue](name)

    def _ingest(self, name: str) -> Stage:
        if not self._withheld_came_back:
            # Once a process: its code may know better than that which withheld them.
            WithheldEvents(self._services.redis).bring_some_back()
            self._withheld_came_back = True
        store = Store(self._services.pool, self._services.tracing)
        return IngestStage(name, self._services, store=store, types=self._types, guard=self._guard)

    def _maintenance(self, _name: str) -> Stage:
        return ErasureStage(self._services, types=self._types)

    def _index(self, _name: str) -> Stage:  # a transaction takes its rows, no name does
        s = self._services
        return IndexStage(s.pool, s.search, s.metrics, s.settings, s.clock, s.tracing)
