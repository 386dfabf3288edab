"""How the rules that the API shares with the command line are asked: `common.tenancy`, `common.event_types`.

They are synchronous, and run in threads that nothing else waits for. Those about event types have one of their own:
schemas are written by tenants, and to check one may take a good part of a second. Nobody else's affairs wait for that.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from fastapi import Request
from psycopg_pool import ConnectionPool

from api.http.errors import RETRY_AFTER_SECONDS, ShedError
from common.database.connections import translated_errors
from common.database.tenancy import SET_TENANCY, of_tenant
from common.event_types.registry import Connect
from common.metrics import Metrics
from common.tenancy.tenants import Connection

THREADS = 2
CONNECTIONS = THREADS + 1
"""One for each thread, so that none waits for another's."""

MOST_CHANGES = 8
"""Of a tenant's event types, in hand at a time; those of other tenants wait for these at most."""

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class Management:
    """The threads and the connections of the rules; closed by whoever made it.

    Args:
        pool: of `CONNECTIONS` connections.
        metrics: where requests that are turned away are counted.
    """

    def __init__(self, pool: ConnectionPool, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="management")
        self._event_types = ThreadPoolExecutor(1, thread_name_prefix="event-types")
        self._changes: Counter[int] = Counter()

    def close(self) -> None:
        """Wait for what is running, and drop what has yet to begin."""
        for threads in (self._threads, self._event_types):
            threads.shutdown(cancel_futures=True)
        self._pool.close()

    async def ask(
        self,
        tenancy: Mapping[str, str],
        rule: Callable[Concatenate[Connection, _Arguments], _Answer],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Answer:
        """What `rule` answers when called with a connection and the arguments: in a thread and in one transaction.

        That sees the rows of `tenancy`, one of `common.database.tenancy`.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away or busy.
            Exception: whatever `rule` raises.
        """

        def run() -> _Answer:
            with self._transaction(tenancy) as connection:
                return rule(connection, *args, **kwargs)

        return await _run(self._threads, run)

    async def change_event_types(
        self,
        tenant_id: int,
        rule: Callable[Concatenate[Connect, _Arguments], _Answer],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Answer:
        """What `rule` answers when called with the arguments and the way to transactions that see the tenant's rows.

        Raises:
            ShedError: 429 `tenant_busy`; `MOST_CHANGES` of the tenant are in hand.
            DatabaseUnavailableError: PostgreSQL is away or busy.
            Exception: whatever `rule` raises.
        """
        if self._changes[tenant_id] >= MOST_CHANGES:
            self._metrics.count("sspp_requests_shed_total", code="tenant_busy")
            detail = f"{MOST_CHANGES} changes of the tenant's event types are in hand; send fewer at a time"
            raise ShedError(429, "tenant_busy", detail, retry_after=RETRY_AFTER_SECONDS)
        connect = partial(self._transaction, of_tenant(tenant_id))
        self._changes[tenant_id] += 1
        try:
            return await _run(self._event_types, lambda: rule(connect, *args, **kwargs))
        finally:
            self._changes[tenant_id] -= 1
            if not self._changes[tenant_id]:
                del self._changes[tenant_id]

    @contextmanager
    def _transaction(self, tenancy: Mapping[str, str]) -> Iterator[Connection]:
        with translated_errors(), self._pool.connection() as connection:
            connection.execute(SET_TENANCY, tenancy)
            yield connection


def management_of(request: Request) -> Management:
    """That of the process which answers `request`."""
    management: Management = request.app.state.services.management
    return management


async def _run(threads: ThreadPoolExecutor, work: Callable[[], _Answer]) -> _Answer:
    # With the request's id, as `asyncio.to_thread` has it.
    return await asyncio.get_running_loop().run_in_executor(threads, copy_context().run, work)
