"""The log of API calls when somebody floods it, when PostgreSQL has trouble, and when our own books fail."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool
from sending import bearer

from api.audit.call_log import MOST_BATCH, MOST_NAMELESS_WAITING, MOST_WAITING, AuditLog, Call
from api.database.fetching import run_for_platform
from common.database.connections import build_async_pool
from common.errors import DatabaseUnavailableError
from common.metrics import Metrics


def call(number: int, key_prefix: str | None = "k7m2q4xw3p") -> Call:
    now = datetime.now(UTC)
    return Call(now, 0, key_prefix, "GET", "/v1/x", None, 200, 1.0, "::1", "x", f"r{number}")


@pytest.fixture
def pool(database_url: str, logins: Callable[[str, str], str]) -> AsyncConnectionPool:
    return build_async_pool(logins(database_url, "sspp_api"), application="test")


def written(connection: psycopg.Connection[Any]) -> list[str]:
    rows = connection.execute("SELECT request_id FROM api_logs ORDER BY received_at, log_id").fetchall()
    return [request_id for (request_id,) in rows]


def test_nobody_without_a_key_has_a_text_of_their_own_written_down_and_others_a_short_one(
    environment: dict[str, str], api_serving: Any, api_store: Any, api_tenant: int
) -> None:
    long = "/v1/admin/tenants/" + 60_000 * "x"
    with api_serving(environment) as client:
        assert client.get(long).status_code == 401
        assert client.get(long, headers=bearer(api_store.key(0, "admin"))).status_code == 404

    targets = api_store.execute("SELECT status, target FROM api_logs ORDER BY received_at")
    assert targets == [(401, None), (404, long[:256])]


def test_a_flood_of_calls_without_a_key_takes_no_room_of_the_others(
    pool: AsyncConnectionPool, connection: psycopg.Connection[Any]
) -> None:
    metrics = Metrics()

    async def run() -> None:
        audit = AuditLog(pool, metrics)
        for number in range(MOST_NAMELESS_WAITING + 7):
            audit.note(call(number, key_prefix=None))
        for number in range(MOST_WAITING):
            audit.note(call(number))
        async with pool:
            await audit.stop()

    asyncio.run(run())

    assert metrics.registry.get_sample_value("sspp_api_logs_dropped_total") == 7
    counts = connection.execute("SELECT count(*), count(key_prefix) FROM api_logs").fetchone()
    assert counts == (MOST_NAMELESS_WAITING + MOST_WAITING, MOST_WAITING)


@pytest.mark.parametrize("error", [asyncio.CancelledError, DatabaseUnavailableError])
def test_calls_whose_commit_was_not_heard_of_are_written_once(
    pool: AsyncConnectionPool,
    connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    run_really: Callable[..., Awaitable[Any]] = run_for_platform

    async def run_and_break_off(*arguments: Any) -> None:
        monkeypatch.setattr("api.audit.call_log.run_for_platform", run_really)
        await run_really(*arguments)
        raise error

    monkeypatch.setattr("api.audit.call_log.run_for_platform", run_and_break_off)
    metrics = Metrics()

    async def run() -> None:
        audit = AuditLog(pool, metrics)
        for number in range(MOST_BATCH + 1):
            audit.note(call(number))
        async with pool:
            await asyncio.gather(audit.stop(), return_exceptions=True)
            assert len(written(connection)) == MOST_BATCH
            await audit.stop()

    asyncio.run(run())

    assert sorted(written(connection)) == sorted(f"r{number}" for number in range(MOST_BATCH + 1))
    assert metrics.registry.get_sample_value("sspp_api_logs_dropped_total") == 0


def test_what_postgresql_does_not_get_done_with_in_time_is_written_in_smaller_pieces(
    pool: AsyncConnectionPool, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("""
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END';
        CREATE TRIGGER dawdle BEFORE INSERT ON api_logs FOR EACH ROW EXECUTE FUNCTION dawdle();
    """)
    assert isinstance(pool.kwargs, dict)
    pool.kwargs["options"] += " -c statement_timeout=500ms"
    numbers = range(400)
    attempts = 0

    async def run() -> None:
        nonlocal attempts
        audit = AuditLog(pool, Metrics())
        for number in numbers:
            audit.note(call(number))
        async with pool:
            while len(written(connection)) < len(numbers):
                attempts += 1
                await audit.stop()

    asyncio.run(run())

    assert sorted(written(connection)) == sorted(f"r{number}" for number in numbers)
    assert attempts > 1


def test_a_call_that_cannot_be_recorded_is_answered_and_its_connection_goes_on(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the books are closed")

    ports = set()
    with monkeypatch.context() as patch:
        patch.setattr("api.request_context.call_of", fail)
        for _ in range(2):
            with api.stream("GET", "/v1/signals") as answer:
                assert answer.status_code == 200
                ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
                answer.read()

    assert len(ports) == 1


@pytest.mark.parametrize("sent", ["[]", "[]:80", "[", ":80", "%", ""])
def test_no_address_that_a_proxy_passes_on_spoils_the_log(
    environment: dict[str, str], api_serving: Any, api_store: Any, api_tenant: int, sent: str
) -> None:
    trusting = environment | {"SSPP_TRUSTED_PROXIES": "127.0.0.0/8"}
    with api_serving(trusting, api_store.key(api_tenant, "read")) as client:
        assert client.get("/v1/signals", headers={"X-Forwarded-For": sent}).status_code == 200

    assert api_store.execute("SELECT host(client_address) FROM api_logs") == [("127.0.0.1",)]
