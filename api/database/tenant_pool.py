"""The connections to PostgreSQL that requests read and write with, of which no tenant can take all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from api.http.errors import RETRY_AFTER_SECONDS, ShedError
from common.metrics import Metrics


class _Share:
    """What a tenant may hold, and how many requests of it hold or want some."""

    __slots__ = ("free", "requests")

    def __init__(self, size: int) -> None:
        self.free = asyncio.Semaphore(size)
        self.requests = 0


class TenantPool(AsyncConnectionPool):
    """A pool of which one tenant holds half at a time; its other requests wait, and those of others pass them.

    It knows a tenant only for as long as requests of it hold or want a connection.

    Args:
        metrics: where requests that are turned away are counted.
        args, kwargs: as of any pool.
    """

    def __init__(self, *args: Any, metrics: Metrics, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._metrics = metrics
        self._shares: dict[int, _Share] = {}

    @asynccontextmanager
    async def connection_of(self, tenant_id: int) -> AsyncIterator[AsyncConnection]:
        """Like `connection`, within the tenant's share.

        Raises:
            ShedError: 429 `tenant_busy`; the share was in use for as long as `connection` waits, too.
            PoolTimeout: all connections are in use.
        """
        share = self._shares.get(tenant_id)
        if share is None:
            share = self._shares[tenant_id] = _Share(max(1, self.max_size // 2))
        share.requests += 1
        try:
            await self._wait_for(share)
            try:
                async with self.connection() as connection:
                    yield connection
            finally:
                share.free.release()
        finally:
            share.requests -= 1
            if not share.requests:
                del self._shares[tenant_id]

    async def _wait_for(self, share: _Share) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                await share.free.acquire()
        except TimeoutError:
            self._metrics.count("sspp_requests_shed_total", code="tenant_busy")
            raise ShedError(
                429,
                "tenant_busy",
                "the tenant's other requests hold as many database connections as it may; send fewer at a time",
                retry_after=RETRY_AFTER_SECONDS,
            ) from None
