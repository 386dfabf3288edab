"""Keys that an API process remembers: until when they open, and while PostgreSQL cannot be asked."""

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from movable_clock import MovableClock
from sending import bearer

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_revoked_key_works_a_second_longer_at_most(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any
) -> None:
    clock = MovableClock(NOON)
    with api_serving(environment, api_store.key(api_tenant, "read"), clock=clock) as client:
        assert client.get("/v1/signals").status_code == 200
        api_store.execute("UPDATE api_keys SET revoked_at = now()")
        clock.now += timedelta(seconds=0.9)
        assert client.get("/v1/signals").status_code == 200
        clock.now += timedelta(seconds=0.1)
        assert client.get("/v1/signals").status_code == 401


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ("UPDATE api_keys SET revoked_at = now()", b"HTTP/1.1 401"),
        ("UPDATE tenants SET status = 'suspended' WHERE slug = 'acme'", b"HTTP/1.1 403"),
        ("SELECT 1", b"HTTP/1.1 202"),
    ],
)
def test_a_body_that_takes_its_time_needs_a_key_that_opens_when_it_is_there(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any, change: str, answer: bytes
) -> None:
    clock, key = MovableClock(NOON), api_store.key(api_tenant, "ingest")
    body = b'{"event_type": "purchase", "customer_id": "c1", "data": {}}'
    with (
        api_serving(environment, key, clock=clock) as client,
        socket.create_connection(("127.0.0.1", client.base_url.port)) as connection,
    ):
        head = f"POST /v1/events HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:20])
        # This one comes later, and is answered: the key of the other one has been looked at.
        assert client.post(
            "/v1/events", content=body, headers={"Content-Type": "application/json"}
        ).is_success
        api_store.execute(change)
        clock.now += timedelta(seconds=1)

        connection.sendall(body[20:])

        assert connection.recv(100).startswith(answer)


def test_slow_reads_keep_no_revoked_key_alive(
    environment: dict[str, str],
    api_store: Any,
    api_tenant: int,
    api_serving: Any,
    database_url: str,
    until: Any,
) -> None:
    clock = MovableClock(NOON)
    # Of two tenants, since one alone cannot take up all connections that there are.
    keys = [bearer(api_store.key(tenant, "read")) for tenant in (api_tenant, api_store.tenant("other"))]
    with (
        api_serving(environment, clock=clock) as client,
        ThreadPoolExecutor(8) as threads,
        psycopg.connect(database_url) as slow,
    ):
        assert [client.get("/v1/signals", headers=key).status_code for key in keys] == [200, 200]
        slow.execute("LOCK TABLE signals IN ACCESS EXCLUSIVE MODE")
        reads = [threads.submit(client.get, "/v1/signals", headers=key) for key in keys * 4]
        until(lambda: api_store.waiting_for_locks() == 8)

        api_store.execute("UPDATE api_keys SET revoked_at = now()")
        clock.now += timedelta(seconds=1)
        assert [client.get("/v1/signals", headers=key).status_code for key in keys] == [401, 401]
        assert api_store.waiting_for_locks() == 8
        slow.rollback()
        assert {read.result().status_code for read in reads} == {200}


def test_a_known_key_outlives_an_outage_of_postgresql(
    environment: dict[str, str],
    api_store: Any,
    api_tenant: int,
    api_serving: Any,
    database_url: str,
    postgres_server: str,
    until: Any,
) -> None:
    clock = MovableClock(NOON)
    known, unknown = api_store.key(api_tenant, "ingest"), api_store.key(api_tenant, "ingest")
    name = database_url.rpartition("/")[2]
    event = {"event_type": "purchase", "customer_id": "c1", "data": {}}
    with api_serving(environment, known, clock=clock) as client:

        def post(key: str) -> httpx.Response:
            return client.post("/v1/events", json=event, headers=bearer(key))

        assert post(known).status_code == 202
        with psycopg.connect(postgres_server, autocommit=True) as server:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
        clock.now += timedelta(minutes=59)
        assert post(known).status_code == 202
        refused = post(unknown)
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        readiness = client.get("/readyz")
        assert (readiness.status_code, readiness.json()["status"]) == (200, "degraded")

        clock.now += timedelta(minutes=2)
        assert post(known).status_code == 503

        with psycopg.connect(postgres_server, autocommit=True) as server:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

        def recovered() -> bool:
            clock.now += timedelta(seconds=5)
            return post(unknown).status_code == 202

        until(recovered)
        assert post(known).status_code == 202
