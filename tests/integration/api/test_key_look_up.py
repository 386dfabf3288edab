"""Floods of made-up keys: what they cost, and that good keys do not suffer from them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
import pytest
from movable_clock import MovableClock

from api.access.authenticator import Authenticator
from api.http.errors import ProblemError
from common.database.connections import build_async_pool
from common.errors import DatabaseUnavailableError
from common.tenancy.secrets import new_key

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MANY = 10_001


class NoUses:
    def note(self, *_: object) -> None:
        pass


@asynccontextmanager
async def authenticating(url: str, clock: MovableClock[datetime]) -> AsyncIterator[tuple[Authenticator, Any]]:
    async with build_async_pool(url, application="test", max_size=2) as pool:
        yield Authenticator(pool, cast("Any", NoUses()), clock), pool


async def answer(authenticator: Authenticator, key: str) -> str:
    """The tenant whose key it is, or why there is none."""
    try:
        return (await authenticator.authenticate(f"Bearer {key}")).tenant
    except (ProblemError, DatabaseUnavailableError) as error:
        return error.code


def made_up(number: int) -> list[str]:
    return [new_key()[0] for _ in range(number)]


@pytest.fixture
def key_url(database_url: str, logins: Callable[[str, str], str]) -> str:
    return logins(database_url, "sspp_api")


def test_however_many_unknown_keys_come_the_known_one_outlives_an_outage(
    key_url: str, api_store: Any, api_tenant: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for patience in ("_SECONDS", "_PATIENCE_SECONDS"):  # of a busy machine, for ten thousand at once
        monkeypatch.setattr(f"api.access.key_look_up.{patience}", 60)
    good, clock = api_store.key(api_tenant, "ingest"), MovableClock(NOON)

    async def run() -> None:
        async with authenticating(key_url, clock) as (authenticator, pool):
            assert await answer(authenticator, good) == "acme"
            flood = await asyncio.gather(*(answer(authenticator, key) for key in made_up(MANY)))
            assert set(flood) == {"unauthorized"}
            await pool.close()
            clock.now += timedelta(minutes=30)
            assert await answer(authenticator, made_up(1)[0]) == "database_unavailable"
            assert await answer(authenticator, good) == "acme"

    asyncio.run(run())


def test_all_keys_that_come_while_one_is_looked_up_are_looked_up_by_one_statement(
    key_url: str, database_url: str, api_store: Any, api_tenant: int, until: Any
) -> None:
    first, good = (api_store.key(api_tenant, "ingest") for _ in range(2))
    other = api_store.key(api_store.tenant("other"), "ingest")
    forged = other[:-8] + "AAAAAAAA"

    async def run() -> None:
        async with authenticating(key_url, MovableClock(NOON)) as (authenticator, pool):
            with psycopg.connect(database_url) as holder:
                holder.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
                asked = [asyncio.create_task(answer(authenticator, first))]
                await asyncio.to_thread(until, lambda: api_store.waiting_for_locks() == 1)
                keys = [good, *made_up(200), forged, other]
                asked += [asyncio.create_task(answer(authenticator, key)) for key in keys]
                await asyncio.sleep(0)
                holder.rollback()
            answers = await asyncio.gather(*asked)
            assert answers == ["acme", "acme", *["unauthorized"] * 201, "other"]
            assert pool.get_stats()["requests_num"] == 2

    asyncio.run(run())


def test_a_key_that_was_revoked_is_forgotten_also_for_an_outage(
    key_url: str, api_store: Any, api_tenant: int
) -> None:
    key, clock = api_store.key(api_tenant, "ingest"), MovableClock(NOON)

    async def run() -> None:
        async with authenticating(key_url, clock) as (authenticator, pool):
            assert await answer(authenticator, key) == "acme"
            api_store.execute("UPDATE api_keys SET revoked_at = now()")
            clock.now += timedelta(seconds=1)
            assert await answer(authenticator, key) == "unauthorized"
            await pool.close()
            clock.now += timedelta(seconds=1)
            assert await answer(authenticator, key) == "database_unavailable"

    asyncio.run(run())


def test_while_postgresql_does_not_answer_known_keys_open_without_waiting_for_it_and_learn_what_it_says_later(
    key_url: str,
    database_url: str,
    api_store: Any,
    api_tenant: int,
    monkeypatch: pytest.MonkeyPatch,
    until: Any,
) -> None:
    monkeypatch.setattr("api.access.key_look_up._SECONDS", 60)
    good, other = api_store.key(api_tenant, "ingest"), api_store.key(api_store.tenant("other"), "ingest")
    clock = MovableClock(NOON)
    lock = "LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE"

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def now(asked: Coroutine[Any, Any, str]) -> str:
            return asyncio.run_coroutine_threadsafe(asked, loop).result()

        async with authenticating(key_url, clock) as (authenticator, _):
            with psycopg.connect(database_url) as holder:
                assert await answer(authenticator, good) == "acme"
                holder.execute(lock)
                for pause in (timedelta(seconds=1), timedelta(seconds=5)):
                    clock.now += pause
                    assert await answer(authenticator, good) == "acme"
                    assert api_store.waiting_for_locks() == 1
                assert await answer(authenticator, other) == "database_unavailable"
                holder.execute("UPDATE api_keys SET revoked_at = now() WHERE tenant_id = %s", (api_tenant,))
                holder.commit()
                # It is asked for after the revoked one.
                await asyncio.to_thread(until, lambda: now(answer(authenticator, other)) == "other")
                holder.execute(lock)
                assert await answer(authenticator, good) == "unauthorized"

    asyncio.run(run())


def test_an_unknown_key_is_not_waited_for_without_end(
    key_url: str, database_url: str, api_store: Any, api_tenant: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.access.key_look_up._SECONDS", 60)
    monkeypatch.setattr("api.access.key_look_up._PATIENCE_SECONDS", 0.1)
    unknown, clock = api_store.key(api_tenant, "ingest"), MovableClock(NOON)

    async def run() -> None:
        async with authenticating(key_url, clock) as (authenticator, _):
            with psycopg.connect(database_url) as holder:
                holder.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
                for _ in range(2):
                    assert await answer(authenticator, unknown) == "database_unavailable"
                await asyncio.to_thread(holder.rollback)
            monkeypatch.setattr("api.access.key_look_up._PATIENCE_SECONDS", 60)
            clock.now += timedelta(minutes=1)
            assert await answer(authenticator, unknown) == "acme"

    asyncio.run(run())
