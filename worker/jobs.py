"""The RQ job functions. RQ finds them by name, so they ask the running worker for what they need."""

from collections.abc import Callable

import structlog

from common.drain import Drain, new_drain_name
from common.errors import TransientError
from worker.maintenance.retention import expire_tenants
from worker.maintenance.upkeep import drop_expired_indices, run_upkeep
from worker.worker import current_worker

log = structlog.get_logger(__name__)


def drain(queue: str) -> int:
    """Drain the stage of `queue`; returns how many items were handled."""
    worker = current_worker()
    services = worker.services
    name = new_drain_name()
    try:
        return Drain(
            worker.stages.build(queue, name),
            name=name,
            client=services.redis,
            waker=services.waker,
            metrics=services.metrics,
            settings=services.settings,
            stop=worker.stop_requested,
        ).run()
    except TransientError as error:
        log.warning("drain_put_off", queue=queue, code=error.code, detail=error.detail)
        return 0


def upkeep() -> dict[str, int]:
    """Keep the stores in shape; returns what was done, by task.

    What a store's outage prevents is done next time, and keeps from nothing else.
    """
    worker = current_worker()
    s, stop = worker.services, worker.stop_requested
    done: dict[str, int] = {}
    tasks: tuple[Callable[[], dict[str, int]], ...] = (
        lambda: run_upkeep(s.pool, s.settings, s.clock, stop=stop),
        lambda: expire_tenants(s.pool, s.search, s.clock, stop=stop),
        lambda: drop_expired_indices(s.pool, s.search, s.settings, s.clock),
    )
    for task in tasks:
        try:
            done |= task()
        except TransientError as error:
            log.warning("upkeep_put_off", code=error.code, detail=error.detail)
    log.info("upkeep_done", **done)
    return done
