"""Events to be stored and to be refused, and ways to see what became of them."""

import json
from typing import Any

from ingest_pipeline import IngestPipeline as Pipeline
from redis import Redis

from common.queue.queued_bytes import BYTES_KEY
from worker.ingest.guard import GuardLimits, RefusalGuard

GRACE = 10
SEVEN, EIGHT = 7, 8


def event(event_id: str, kind: str = "purchase", amount: str = "1.00") -> bytes:
    data = {"amount": amount, "currency": "USD"}
    return json.dumps({"event_id": event_id, "event_type": kind, "customer_id": "c1", "data": data}).encode()


def good(count: int, name: str = "good") -> list[bytes]:
    return [event(f"{name}{number}") for number in range(count)]


def bad(count: int, name: str = "bad") -> list[bytes]:
    return [event(f"{name}{number}", "visit") for number in range(count)]


def register_visit(pipeline: Pipeline, tenant: int = SEVEN) -> None:
    """From now on, what was bad is good."""
    with pipeline.pool.connection() as connection:
        connection.execute(
            "INSERT INTO event_types (tenant_id, event_type, version, schema) VALUES (%s, 'visit', 1, '{}')",
            (tenant,),
        )


def new_guard(pipeline: Pipeline) -> None:
    """A guard that knows nothing yet, as when a worker is started."""
    pipeline.guard = RefusalGuard(GuardLimits(max_share=0.5, grace=GRACE))


def drain(stage: Any) -> None:
    """Run a stage until nothing is left."""
    while stage.step(0):
        pass


def ids(pipeline: Pipeline, table: str, tenant: int = SEVEN) -> list[str]:
    rows = pipeline.rows(f"SELECT event_id FROM {table} WHERE tenant_id = %(tenant)s", tenant=tenant)
    return sorted(row["event_id"] for row in rows)


def queued_bytes(client: Redis, tenant: int) -> int:
    return int(client.hget(BYTES_KEY, str(tenant)) or 0)  # type: ignore[arg-type]
