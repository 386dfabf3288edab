"""Which stage each queue's drains run, and what of it outlives a drain."""

from common.drain import Stage
from common.services import Services
from worker.domains import DOMAINS
from worker.index import IndexStage
from worker.ingest import IngestStage
from worker.isolation import FaultLimit
from worker.store import Store
from worker.validation import EventTypes


class Stages:
    """Builds the stages of one worker process. A later stage is one more method and one more entry."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._types = EventTypes(DOMAINS)
        self._faults = FaultLimit()
        self._builders = {"ingest": self._ingest, "index": self._index}

    def build(self, queue: str, name: str) -> Stage:
        """The stage of `queue`, for a drain of that name.

        Raises:
            KeyError: no stage runs on this queue.
            QueueUnavailableError: Redis is away.
        """
        return self._builders[queue](name)

    def _ingest(self, name: str) -> Stage:
        store = Store(self._services.pool)
        return IngestStage(name, self._services, store=store, types=self._types, faults=self._faults)

    def _index(self, _name: str) -> Stage:  # a transaction takes its rows, no name does
        s = self._services
        return IndexStage(s.pool, s.search, s.metrics, s.settings, s.clock)
