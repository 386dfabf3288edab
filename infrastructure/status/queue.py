"""Redis: what waits in the lanes, who works, and whether it would keep what it has."""

from contextlib import suppress
from time import monotonic
from typing import Any, cast

from redis import Redis
from redis.exceptions import ResponseError
from rq import Worker
from rq.exceptions import NoSuchJobError
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from common.queue.durability import endangers_events
from common.queue.lane_consumer import GROUP
from common.queue.streams import LANES, QUARANTINE_KEY, STREAMS, depth, oldest_ages
from common.queue.withheld import WithheldEvents
from common.redis import open_redis, translated_errors
from common.wakeup import job_queue, live_workers
from infrastructure.status.status import Answers
from worker.cron import WATCHED_QUEUES

_STORE_LAG_SECONDS = 120.0
_MEMORY_SHARE = 0.7
_TIMEOUT_SECONDS = 3.0


def ask_queue(url: str, answers: Answers) -> None:
    """Add ``stores.redis``, ``lanes``, ``lag.stored_seconds``, ``waiting``, ``queues`` and ``workers``.

    Raises:
        QueueUnavailableError: it is away.
    """
    answers.sections["stores"] = {"redis": {"up": False}}
    with open_redis(url, timeout_seconds=_TIMEOUT_SECONDS) as client, translated_errors():
        _ask_store(client, answers)
        _ask_lanes(client, answers)
        _ask_workers(client, answers)


def _ask_store(client: Redis, answers: Answers) -> None:
    client.ping()  # the way there
    begun = monotonic()
    client.ping()
    latency = monotonic() - begun
    info = client.info()
    used, most = info["used_memory"], int(info.get("maxmemory", 0))
    answers.sections["stores"] = {
        "redis": {
            "up": True,
            "version": info.get("valkey_version") or info.get("redis_version"),
            "latency_ms": round(latency * 1000, 1),
            "bytes": used,
            "bytes_limit": most or None,
            "aof": bool(int(info.get("aof_enabled", 0))),
            "appendfsync": _appendfsync(client),
            "aof_last_write": info.get("aof_last_write_status"),
            "maxmemory_policy": info.get("maxmemory_policy"),
        }
    }
    if danger := endangers_events(info):
        answers.problems.append(danger)
    if info.get("aof_last_write_status", "ok") != "ok":
        answers.problems.append("Redis could not write its append-only file: see to its disk")
    if most and used / most > _MEMORY_SHARE:
        answers.problems.append(f"Redis uses {used / most:.0%} of its memory")


def _appendfsync(client: Redis) -> str | None:
    try:
        return str(cast("dict[str, str]", client.config_get("appendfsync")).get("appendfsync")) or None
    except ResponseError:  # forbidden: managed services do so
        return None


def _ask_lanes(client: Redis, answers: Answers) -> None:
    depths, ages, withheld = depth(client), oldest_ages(client), WithheldEvents(client).events()
    pipeline = cast("Any", client).pipeline(transaction=False)
    for stream in STREAMS:
        pipeline.xpending(stream, GROUP)
    pipeline.xlen(QUARANTINE_KEY)
    # A stream that nobody has read yet has no group.
    *claimed, quarantined = pipeline.execute(raise_on_error=False)
    by_stream = {
        stream: summary["pending"]
        for stream, summary in zip(STREAMS, claimed, strict=True)
        if isinstance(summary, dict)
    }
    answers.sections["lanes"] = {
        lane: {
            "waiting_events": depths.get(lane, 0),
            "oldest_seconds": round(ages[lane], 1),
            "claimed_entries": by_stream.get(lane, 0) + by_stream.get(f"{lane}:busy", 0),
        }
        for lane in LANES
    }
    oldest = max(ages.values())
    answers.sections["lag"] = {"stored_seconds": round(oldest, 1)}
    answers.sections["waiting"] = {
        "withheld_events": sum(withheld.values()),
        "quarantined_entries": quarantined,
    }
    if oldest > _STORE_LAG_SECONDS:
        answers.problems.append(f"the oldest event in the lanes waits for {oldest:.0f} seconds")
    if withheld:
        answers.problems.append(
            f"{sum(withheld.values()):,} events of {len(withheld)} tenants are withheld: sspp rejected withheld"
        )
    if quarantined:
        answers.problems.append(f"{quarantined:,} entries that nobody can decode are in quarantine")


def _ask_workers(client: Redis, answers: Answers) -> None:
    answers.sections["queues"] = {}
    for name in WATCHED_QUEUES:
        queue = job_queue(name, client)
        state = {
            "workers": live_workers(client, name),
            "jobs": queue.count,
            "failed_jobs": FailedJobRegistry(queue=queue).get_job_count(cleanup=False),
        }
        answers.sections["queues"][name] = state
        if not state["workers"]:
            answers.problems.append(f"nobody works for {name}: start rq worker {name}")
    answers.sections["workers"] = sorted(
        (_describe(worker) for worker in Worker.all(connection=client, serializer=JSONSerializer)),
        key=lambda described: (described["queues"], described["name"]),
    )


def _describe(worker: BaseWorker) -> dict[str, Any]:
    job = None
    with suppress(NoSuchJobError):  # done in the meantime
        job = worker.get_current_job()
    return {
        "name": worker.name,
        "queues": worker.queue_names(),
        "host": worker.hostname,
        "pid": worker.pid,
        "state": str(worker.get_state()),
        "doing": job.description if job else None,
        "doing_since": job.started_at if job else None,
        "since": worker.birth_date,
        "last_heartbeat": worker.last_heartbeat,
    }
