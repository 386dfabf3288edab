"""One tenant's reads leave connections for those of others."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, cast

import psycopg
import pytest

from api.database.fetching import fetch_one
from api.database.tenant_pool import TenantPool
from api.http.errors import ShedError
from common.database.connections import build_async_pool
from common.metrics import Metrics

SIZE = 8
SHARE = SIZE // 2
NOISY, QUIET = 7, 8


def test_slow_reads_of_one_tenant_keep_no_other_tenant_from_reading(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any, until: Any
) -> None:
    quiet = {"Authorization": f"Bearer {api_store.key(api_store.tenant('quiet'), 'read')}"}
    with (
        api_serving(environment, api_store.key(api_tenant, "read")) as noisy,
        ThreadPoolExecutor(SIZE) as threads,
        psycopg.connect(environment["DATABASE_URL"]) as slow,
    ):
        slow.execute("LOCK TABLE signals IN ACCESS EXCLUSIVE MODE")
        reads = [threads.submit(noisy.get, "/v1/signals") for _ in range(SIZE)]
        until(lambda: api_store.waiting_for_locks() >= SHARE)

        for _ in range(SIZE):
            assert noisy.get("/v1/customers", headers=quiet).status_code == 200
        assert api_store.waiting_for_locks() == SHARE
        slow.rollback()
        assert [read.result().status_code for read in reads] == [200] * SIZE


def test_who_waits_for_its_share_too_long_is_told_to_come_later_and_nobody_is_remembered(
    database_url: str,
) -> None:
    metrics = Metrics()

    async def run() -> dict[int, object]:
        make = partial(TenantPool, metrics=metrics)
        async with build_async_pool(database_url, application="test", max_size=SIZE, make=make) as pool:
            tenants = cast("TenantPool", pool)
            async with AsyncExitStack() as stack:
                for _ in range(SHARE):
                    await stack.enter_async_context(tenants.connection_of(NOISY))
                tenants.timeout = 0.2
                with pytest.raises(ShedError) as refused:
                    await fetch_one(tenants, "SELECT 1 AS one", {"tenant_id": NOISY})
                assert (refused.value.status, refused.value.code) == (429, "tenant_busy")
                tenants.timeout = 5
                assert await fetch_one(tenants, "SELECT 1 AS one", {"tenant_id": QUIET}) == {"one": 1}
                # One who gives up waiting takes no part of the share along.
                waiting = asyncio.create_task(fetch_one(tenants, "SELECT 1 AS one", {"tenant_id": NOISY}))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
            for _ in range(SHARE + 1):
                assert await fetch_one(tenants, "SELECT 1 AS one", {"tenant_id": NOISY}) == {"one": 1}
            return dict(tenants._shares)

    assert asyncio.run(run()) == {}
    assert metrics.registry.get_sample_value("sspp_requests_shed_total", {"code": "tenant_busy"}) == 1
