"""The log of API calls: who asked for what, and what came of it. Noted in memory, written in batches."""

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct
from psycopg_pool import AsyncConnectionPool

from api.database import run_for_platform
from api.periodic import Periodic
from common.database.queries import Queries
from common.errors import DatabaseUnavailableError
from common.metrics import Metrics

MOST_WAITING = 20_000
"""Calls that wait to be written; more than these are not noted."""

_WRITE_SECONDS = 1.0
_BATCH = 2_000
_MOST_AGENT_CHARACTERS = 256

_sql = Queries("api", "audit.sql")
log = structlog.get_logger(__name__)


class Call(Struct, frozen=True, gc=False):
    """One call, as `api_logs` has it; no bodies, no secrets, no ids of customers or events."""

    received_at: datetime
    tenant_id: int
    key_prefix: str | None
    method: str
    route: str
    target: str | None
    status: int
    duration_ms: float
    client_address: str | None
    user_agent: str | None
    request_id: str


class AuditLog:
    """Takes note of calls, and writes them by a task of its own; no request waits for it.

    What is noted and not yet written, about a second's worth, is lost if the process is killed. While PostgreSQL is
    away up to `MOST_WAITING` calls wait; those that come then are dropped, and counted.
    """

    def __init__(self, database: AsyncConnectionPool, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._waiting: deque[Call] = deque()
        self._writer = Periodic(self._write, seconds=_WRITE_SECONDS, name="audit log")

    def note(self, call: Call) -> None:
        """Have `call` written, if there is room."""
        if len(self._waiting) >= MOST_WAITING:
            self._metrics.count("sspp_api_logs_dropped_total")
        else:
            self._waiting.append(call)

    def start(self) -> None:
        """Write what is noted, again and again."""
        self._writer.start()

    async def stop(self) -> None:
        """Write what is noted, and end the task."""
        await self._writer.stop()
        await self._write()

    async def _write(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            try:
                calls = msgspec.json.encode(batch).decode()
                await run_for_platform(self._database, _sql.insert_logs, {"calls": calls})
            except DatabaseUnavailableError:
                self._waiting.extendleft(reversed(batch))
                return
            except asyncio.CancelledError:
                self._waiting.extendleft(reversed(batch))
                raise
            except (
                Exception
            ):  # a line that PostgreSQL does not take must not end the task, or come back for ever
                log.exception("api_logs_not_written", calls=len(batch))
                self._metrics.count("sspp_api_logs_dropped_total", len(batch))


def call_of(
    scope: Mapping[str, Any],
    *,
    received_at: datetime,
    method: str,
    route: str,
    status: int,
    seconds: float,
    client_address: str | None,
) -> Call:
    """What is to be noted of the request of this ASGI scope."""
    principal = scope.get("sspp.principal")
    return Call(
        received_at=received_at,
        tenant_id=principal.tenant_id if principal else 0,
        key_prefix=principal.key_prefix if principal else None,
        method=method,
        route=route,
        target=scope["path"] if route.startswith("/v1/admin/") else None,
        status=status,
        duration_ms=1000 * seconds,
        client_address=client_address,
        user_agent=_user_agent(scope),
        request_id=scope["request_id"],
    )


def _user_agent(scope: Mapping[str, Any]) -> str | None:
    for name, value in scope["headers"]:
        if name == b"user-agent":
            agent: str = value.decode("latin-1").replace("\0", "")
            return agent[:_MOST_AGENT_CHARACTERS]
    return None


class Position(NamedTuple):
    """Where a call stands in the list."""

    received_at: datetime
    log_id: UUID
