"""The API in a thread of the test's process, with rows for it to read, and the ingest stage with its queue."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool
from redis import Redis

from api.app import create_app
from common.database.connections import open_pool
from common.envelope import event_key, signal_id
from common.metrics import Metrics
from common.queue.queued_bytes import count_on
from common.queue.streams import DEPTH_KEY, Record, encode_entry, entry_size, lane_of
from common.redis import open_redis
from common.search.client import open_client
from common.services import Services
from common.settings import Settings, load_settings
from common.tenancy.secrets import new_key
from common.wakeup import Waker
from worker.domains import DOMAINS
from worker.guard import GuardLimits, RefusalGuard
from worker.ingest import IngestStage
from worker.store import Store
from worker.validation import EventTypes

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class ApiStore:
    """Writes what the workers would have written."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def tenant(self, slug: str) -> int:
        [(tenant_id,)] = self.execute(
            "INSERT INTO tenants (slug, name) VALUES (%s, %s) RETURNING tenant_id", (slug, slug)
        )
        return tenant_id

    def key(
        self,
        tenant_id: int,
        *scopes: str,
        expires_at: datetime | None = None,
        revoked_at: datetime | None = None,
    ) -> str:
        secret, prefix, digest = new_key()
        self.execute(
            "INSERT INTO api_keys (tenant_id, prefix, key_hash, scopes, expires_at, revoked_at)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (tenant_id, prefix, digest, list(scopes), expires_at, revoked_at),
        )
        return secret

    def event(
        self,
        tenant_id: int,
        event_id: str,
        *,
        event_type: str = "purchase",
        customer_id: str = "c1",
        occurred_at: datetime = NOON,
        received_at: datetime = NOON,
        trace_id: str | None = None,
        raw: str | None = None,
        signal_type: str | None = "revenue",
        amount: str | None = "49.90",
        data: str = '{"amount": 49.90}',
        batch_id: int = 1,
    ) -> uuid.UUID:
        """An event with its one signal, or none with `signal_type` None; returns the signal's id."""
        key = event_key(tenant_id, event_id)
        raw = raw or json.dumps({"event_id": event_id, "event_type": event_type, "data": {}})
        self.execute("INSERT INTO event_keys VALUES (%s, %s, %s)", (key, tenant_id, received_at))
        self.execute(
            "INSERT INTO events (event_key, received_at, batch_id, tenant_id, event_id, event_type, customer_id,"
            " occurred_at, trace_id, raw) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                key,
                received_at,
                batch_id,
                tenant_id,
                event_id,
                event_type,
                customer_id,
                occurred_at,
                trace_id,
                raw,
            ),
        )
        found = signal_id(key, 0)
        if signal_type is not None:
            self.execute(
                "INSERT INTO signals (signal_id, received_at, tenant_id, event_id, event_type, customer_id,"
                " signal_type, signal_score, occurred_at, trace_id, amount, currency, data)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, 0.8, %s, %s, %s, %s, %s::jsonb)",
                (
                    found,
                    received_at,
                    tenant_id,
                    event_id,
                    event_type,
                    customer_id,
                    signal_type,
                    occurred_at,
                    trace_id,
                    amount,
                    "USD" if amount else None,
                    data,
                ),
            )
        return found

    def customer(
        self, tenant_id: int, customer_id: str, *, heat: float | None = None, **columns: Any
    ) -> None:
        columns = {"first_seen": NOON, "last_seen": NOON, **columns}
        names = ", ".join(columns)
        places = ", ".join(["%s"] * len(columns))
        self.execute(
            f"INSERT INTO customers (tenant_id, customer_id, heat, {names}) VALUES (%s, %s, %s, {places})",
            (tenant_id, customer_id, heat, *columns.values()),
        )

    def rejection(
        self,
        tenant_id: int,
        event_id: str,
        *,
        code: str = "schema_violation",
        event_type: str = "purchase",
        rejected_at: datetime = NOON,
        raw: str | None = None,
    ) -> uuid.UUID:
        rejection_id = uuid.uuid4()
        raw = raw or json.dumps({"event_id": event_id, "event_type": event_type, "data": {"amount": -5}})
        self.execute(
            "INSERT INTO rejected_events (rejection_id, tenant_id, event_id, event_type, customer_id, received_at,"
            " rejected_at, code, detail, path, raw)"
            " VALUES (%s, %s, %s, %s, 'c1', %s, %s, %s, 'amount is negative', '/data/amount', %s)",
            (
                rejection_id,
                tenant_id,
                event_id,
                event_type,
                rejected_at - timedelta(seconds=1),
                rejected_at,
                code,
                raw,
            ),
        )
        return rejection_id


@pytest.fixture
def pool(database_url: str) -> Iterator[ConnectionPool]:
    """Connections to this test's database, as workers have them."""
    with open_pool(database_url, application="test") as pool:
        yield pool


@pytest.fixture
def api_store(database_url: str) -> Iterator[ApiStore]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield ApiStore(connection)


@pytest.fixture
def api_serving(logins: Callable[[str, str], str]) -> Callable[..., AbstractContextManager[httpx.Client]]:
    """Starts an API for given server URLs and a key that is sent unless a request says otherwise.

    It connects to the tests' PostgreSQL as the API's role.
    """

    @contextmanager
    def serve(environment: dict[str, str], key: str | None = None, **options: Any) -> Iterator[httpx.Client]:
        database = {"DATABASE_URL": logins(environment["DATABASE_URL"], "sspp_api")}
        app = create_app(Settings.model_validate(environment | database), **options)
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_config=None, access_log=False, proxy_headers=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, name="api")
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the API did not start"
                time.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            headers = {"Authorization": f"Bearer {key}"} if key else None
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()

    return serve


@pytest.fixture
def api_tenant(api_store: ApiStore) -> int:
    return api_store.tenant("acme")


@pytest.fixture
def api(
    environment: dict[str, str], api_store: ApiStore, api_tenant: int, api_serving: Any
) -> Iterator[httpx.Client]:
    """A client of the API whose key may read and send for `api_tenant`."""
    with api_serving(environment, api_store.key(api_tenant, "read", "ingest")) as client:
        yield client


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


@pytest.fixture
def pipeline(environment: dict[str, str]) -> Iterator[IngestPipeline]:
    client = open_redis(environment["REDIS_URL"])
    with open_pool(environment["DATABASE_URL"], application="test") as pool:
        with pool.connection() as connection:
            connection.execute(
                "INSERT INTO tenants (tenant_id, slug, name) VALUES (7, 'seven', 'Seven'), (8, 'eight', 'Eight')"
            )
        yield IngestPipeline(client, pool)
    client.close()
