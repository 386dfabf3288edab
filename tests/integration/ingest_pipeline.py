"""The ingest stage with its queue before it and its database behind it, and a fault in what it does between."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool
from redis import Redis

from common.metrics import Metrics
from common.queue.queued_bytes import count_on
from common.queue.streams import DEPTH_KEY, Record, encode_entry, entry_size, lane_of
from common.search.client import open_client
from common.services import Services
from common.settings import load_settings
from common.wakeup import Waker
from worker.domains import DOMAINS
from worker.ingest.guard import GuardLimits, RefusalGuard
from worker.ingest.stage import IngestStage
from worker.store.batch import Store
from worker.validation.events import EventTypes, validate

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def validation_breaking_at(prefix: str) -> Callable[..., Any]:
    """The `validate` of code that breaks, not refuses, events whose ids begin with `prefix`."""

    def broken(tenant_id: int, record: Record, *arguments: Any, **options: Any) -> Any:
        if record.event_id.startswith(prefix):
            raise ZeroDivisionError
        return validate(tenant_id, record, *arguments, **options)

    return broken


@dataclass
class IngestPipeline:
    """The queue, a way to run stages on it, and the database to look at."""

    redis: Redis
    pool: ConnectionPool
    metrics: Metrics = field(default_factory=Metrics)
    guard: RefusalGuard = field(default_factory=lambda: RefusalGuard(GuardLimits()))

    def push(self, *raws: bytes, tenant: int = 7, received_at: datetime = NOON) -> None:
        records = [Record(json.loads(raw)["event_id"], received_at, raw) for raw in raws]
        self.push_records(records, tenant=tenant)

    def push_records(self, records: list[Record], *, tenant: int = 7) -> None:
        fields = encode_entry(tenant, records)
        pipeline = self.redis.pipeline()
        pipeline.xadd(lane_of(tenant), fields)
        pipeline.hincrby(DEPTH_KEY, lane_of(tenant), len(records))
        count_on(pipeline, {tenant: entry_size(fields)})
        pipeline.execute()

    def services(self) -> Services:
        return Services(
            settings=load_settings(),
            redis=self.redis,
            pool=self.pool,
            search=open_client("http://127.0.0.1:1"),
            waker=Waker(self.redis, liveness_seconds=5),
            metrics=self.metrics,
            clock=lambda: NOON,
        )

    def stage(self, name: str = "drain-1", store: Store | None = None) -> IngestStage:
        store = store or Store(self.pool)
        return IngestStage(name, self.services(), store=store, types=EventTypes(DOMAINS), guard=self.guard)

    def drain(self) -> int:
        stage, handled = self.stage(), 0
        while count := stage.step(0):
            handled += count
        stage.close()
        return handled

    def rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with self.pool.connection() as connection:
            return connection.cursor(row_factory=dict_row).execute(query, parameters).fetchall()

    def value(self, query: str) -> Any:
        (row,) = self.rows(query)
        return next(iter(row.values()))
