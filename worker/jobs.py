"""The RQ job functions. RQ finds them by name, so they ask the running worker for what they need."""

from common.drain import Drain, new_drain_name
from worker.maintenance import run_upkeep
from worker.stages import STAGES
from worker.worker import current_worker


def drain(queue: str) -> int:
    """Drain the stage of `queue`; returns how many items were handled."""
    worker = current_worker()
    services = worker.services
    name = new_drain_name()
    return Drain(
        STAGES[queue](services, name),
        name=name,
        client=services.redis,
        waker=services.waker,
        metrics=services.metrics,
        settings=services.settings,
        stop=worker.stop_requested,
    ).run()


def upkeep() -> dict[str, int]:
    """Keep the database in shape; returns what was done, by task."""
    services = current_worker().services
    return run_upkeep(services.pool, services.settings, services.clock)
