"""Redis, and who works on what lies in it."""

from redis import Redis

from common.metrics import Metrics
from common.redis import translated_errors
from common.wakeup import live_workers
from worker.cron import WATCHED_QUEUES


def measure_redis(client: Redis, metrics: Metrics) -> None:
    """Set the metrics of Redis's memory and of the workers of each queue.

    Raises:
        QueueUnavailableError: Redis is away.
    """
    with translated_errors():
        memory = client.info("memory")
    metrics.set("sspp_redis_memory_bytes", memory["used_memory"])
    metrics.set("sspp_redis_memory_limit_bytes", memory.get("maxmemory", 0))
    for queue in WATCHED_QUEUES:
        metrics.set("sspp_workers", live_workers(client, queue), queue=queue)
