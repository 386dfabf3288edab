"""The log of API calls: what stands in it, who reads it, and that no request waits for it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
from sending import bearer

from api.audit.call_log import MOST_WAITING, AuditLog, Call
from common.database.connections import build_async_pool
from common.metrics import Metrics
from common.tenancy.secrets import parse_prefix

EVENT = {"event_type": "purchase", "customer_id": "someone", "data": {"name": "Ada"}}


def logged(api_store: Any, tenant: int) -> list[tuple[Any, ...]]:
    return list(
        api_store.execute(
            "SELECT method, route, status, key_prefix, target FROM api_logs WHERE tenant_id = %s"
            " ORDER BY received_at, log_id",
            (tenant,),
        )
    )


def test_each_call_of_the_api_is_written_down_when_the_process_ends_at_the_latest(
    environment: dict[str, str], api_serving: Any, api_store: Any, api_tenant: int
) -> None:
    key, mighty = api_store.key(api_tenant, "ingest", "read"), api_store.key(0, "admin")
    prefix = parse_prefix(key)
    began = datetime.now(UTC)
    with api_serving(environment, key) as client:
        agent = {"User-Agent": "till/2.1", "X-Request-ID": "abc"}
        assert client.post("/v1/events", json=EVENT, headers=agent).status_code == 202
        assert client.get("/v1/customers/some%2Fone").status_code == 404
        assert client.get("/v1/nowhere").status_code == 404
        assert client.post("/v1/rejected/replay").status_code == 403
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/signals", headers=bearer("unknown")).status_code == 401
        assert client.get("/v1/admin/tenants/acme", headers=bearer(mighty)).status_code == 200

    assert logged(api_store, api_tenant) == [
        ("POST", "/v1/events", 202, prefix, None),
        ("GET", "/v1/customers/{customer_id}", 404, prefix, None),
        ("POST", "/v1/rejected/replay", 403, prefix, None),
    ]
    assert logged(api_store, 0) == [
        ("GET", "unmatched", 404, None, None),
        ("GET", "/v1/signals", 401, None, None),
        ("GET", "/v1/admin/tenants/{slug}", 200, parse_prefix(mighty), "/v1/admin/tenants/acme"),
    ]
    [(received_at, duration, address, *sent)] = api_store.execute(
        "SELECT received_at, duration_ms, host(client_address), user_agent, request_id FROM api_logs"
        " WHERE route = '/v1/events'"
    )
    assert began <= received_at <= datetime.now(UTC)
    assert 0 < duration < 30_000
    assert (address, sent) == ("127.0.0.1", ["till/2.1", "abc"])
    everything = str(api_store.execute("SELECT api_logs::text FROM api_logs"))
    for secret in (key, mighty, "Ada", "someone", "some%2Fone"):
        assert secret not in everything


def test_a_tenants_administrator_reads_its_calls_page_by_page_and_no_others(
    api: httpx.Client, api_store: Any, api_tenant: int, until: Any
) -> None:
    administrator = bearer(api_store.key(api_tenant, "tenant_admin"))
    stranger = bearer(api_store.key(api_store.tenant("other"), "tenant_admin"))
    for _ in range(3):
        api.get("/v1/signals")
        api.get("/v1/signals", headers=stranger)
    until(lambda: len(logged(api_store, api_tenant)) >= 3)

    found: list[dict[str, Any]] = []
    page = {"limit": "2", "status": "200"}
    while True:
        answer = api.get("/v1/api-logs", params=page, headers=administrator).json()
        found += answer["items"]
        if answer["next_cursor"] is None:
            break
        page = page | {"cursor": answer["next_cursor"]}

    assert [call["route"] for call in found if call["route"] == "/v1/signals"] == ["/v1/signals"] * 3
    assert [call["received_at"] for call in found] == sorted(
        (call["received_at"] for call in found), reverse=True
    )
    own = {parse_prefix(api.headers["authorization"][7:]), parse_prefix(administrator["Authorization"][7:])}
    assert {call["key_prefix"] for call in found} <= own
    assert api.get("/v1/api-logs", params={"status": "403"}, headers=administrator).json()["items"] == []
    assert api.get("/v1/api-logs", params={"status": "1"}, headers=administrator).status_code == 422


def test_calls_wait_while_postgresql_is_away_and_beyond_a_bound_they_are_dropped_and_counted(
    database_url: str, logins: Any, postgres_server: str
) -> None:
    metrics = Metrics()
    name = database_url.rpartition("/")[2]
    now = datetime.now(UTC)

    def call(number: int) -> Call:
        return Call(now, 0, "k7m2q4xw3p", "GET", "/v1/x", None, 200, 1.0, "::1", "x", f"r{number}")

    async def run() -> None:
        pool = build_async_pool(logins(database_url, "sspp_api"), application="test")
        async with pool:
            audit = AuditLog(pool, metrics)
            for number in range(MOST_WAITING + 5):
                audit.note(call(number))
            with psycopg.connect(postgres_server, autocommit=True) as server:
                server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
                )
                await audit.stop()
                server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await audit.stop()

    asyncio.run(run())

    assert metrics.registry.get_sample_value("sspp_api_logs_dropped_total") == 5
    with psycopg.connect(database_url) as connection:
        count = connection.execute("SELECT count(*), count(DISTINCT request_id) FROM api_logs").fetchone()
    assert count == (MOST_WAITING, MOST_WAITING)


@pytest.mark.parametrize("agent", ["x" * 5_000, "\xff", "\x7f", "'; DROP TABLE api_logs"])
def test_no_user_agent_spoils_the_log(
    environment: dict[str, str], api_serving: Any, api_store: Any, api_tenant: int, agent: str
) -> None:
    with api_serving(environment, api_store.key(api_tenant, "read")) as client:
        headers = [(b"User-Agent", agent.encode("latin-1"))]
        client.request("GET", "/v1/signals", headers=headers)  # type: ignore[arg-type]
        assert client.get("/v1/event-types").status_code == 200

    assert ("GET", "/v1/event-types", 200) in {line[:3] for line in logged(api_store, api_tenant)}
