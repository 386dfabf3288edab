"""Which stage each queue's drains run."""

from collections.abc import Callable

from common.drain import Stage
from common.services import Services
from worker.domains import DOMAINS
from worker.index import IndexStage
from worker.ingest import IngestStage
from worker.store import Store
from worker.validation import EventTypes


def _ingest(services: Services, name: str) -> Stage:
    return IngestStage(
        name,
        client=services.redis,
        store=Store(services.pool),
        types=EventTypes(DOMAINS),
        waker=services.waker,
        metrics=services.metrics,
        settings=services.settings,
        clock=services.clock,
    )


def _index(services: Services, name: str) -> Stage:  # noqa: ARG001  # rows are taken by a transaction, not by name
    return IndexStage(services.pool, services.search, services.metrics, services.settings, services.clock)


STAGES: dict[str, Callable[[Services, str], Stage]] = {"ingest": _ingest, "index": _index}
"""RQ queue → how to build its stage for a drain of the given name. A later stage is one more entry."""
