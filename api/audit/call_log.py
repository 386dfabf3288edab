"""The log of API calls: who asked for what, and what came of it. Noted in memory, written in batches."""

import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
import structlog
from msgspec import Struct
from psycopg_pool import AsyncConnectionPool

from api.database.fetching import run_for_platform
from api.periodic import Periodic
from common.database.queries import Queries
from common.errors import DatabaseUnavailableError
from common.metrics import Metrics

MOST_WAITING = 20_000
"""Calls with valid keys that wait to be written; more than these are not noted."""

MOST_NAMELESS_WAITING = 2_000
"""Likewise those without: whoever has no key cannot take the room of those who have one."""

MOST_BATCH = 2_000
"""Calls that one statement writes."""

_WRITE_SECONDS = 1.0
_MOST_AGENT_CHARACTERS = 256
_MOST_TARGET_CHARACTERS = 256

_sql = Queries("api.audit", "call_log.sql")
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


class _Batch(NamedTuple):
    """Calls that are written together, and what their ids in the table begin with: 24 hexadecimal digits."""

    calls: Sequence[Call]
    id_prefix: str


class AuditLog:
    """Takes note of calls, and writes each once, by a task of its own; no request waits for it.

    What is noted and not yet written, about a second's worth, is lost if the process is killed. While PostgreSQL is
    away up to `MOST_WAITING` calls wait, and `MOST_NAMELESS_WAITING` without a valid key; those that come then are
    dropped, and counted.
    """

    def __init__(self, database: AsyncConnectionPool, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._waiting: deque[Call] = deque()
        self._nameless: deque[Call] = deque()
        self._batch: _Batch | None = None  # until it is known to be written
        self._most = MOST_BATCH
        self._writer = Periodic(self._write, seconds=_WRITE_SECONDS, name="audit log")

    def note(self, call: Call) -> None:
        """Have `call` written, if there is room."""
        waiting, most = self._waiting, MOST_WAITING
        if call.key_prefix is None:
            waiting, most = self._nameless, MOST_NAMELESS_WAITING
        if len(waiting) >= most:
            self._metrics.count("sspp_api_logs_dropped_total")
        else:
            waiting.append(call)

    def start(self) -> None:
        """Write what is noted, again and again."""
        self._writer.start()

    async def stop(self) -> None:
        """Write what is noted, and end the task."""
        await self._writer.stop()
        await self._write()

    async def _write(self) -> None:
        while batch := self._batch or self._take():
            self._batch = batch
            try:
                await run_for_platform(
                    self._database,
                    _sql.insert_logs,
                    {"calls": msgspec.json.encode(batch.calls).decode(), "id_prefix": batch.id_prefix},
                )
            except DatabaseUnavailableError as error:
                if isinstance(error.__cause__, psycopg.errors.QueryCanceled):
                    self._halve(batch)
                return
            except psycopg.errors.UniqueViolation:
                pass  # all of it was written by an attempt whose answer did not arrive
            except Exception:  # what PostgreSQL does not take must not come back for ever
                log.exception("api_logs_not_written", calls=len(batch.calls))
                self._metrics.count("sspp_api_logs_dropped_total", len(batch.calls))
            self._batch = None
            self._most = min(MOST_BATCH, 2 * self._most)

    def _take(self) -> _Batch | None:
        """What is to be written next, if anything waits."""
        waiting = self._waiting or self._nameless
        calls = [waiting.popleft() for _ in range(min(self._most, len(waiting)))]
        return _Batch(calls, secrets.token_hex(12)) if calls else None

    def _halve(self, batch: _Batch) -> None:
        """Write less at a time: PostgreSQL did not get done with `batch` in the time that a statement has."""
        self._most = max(1, len(batch.calls) // 2)
        first, rest = batch.calls[: self._most], batch.calls[self._most :]
        self._batch = batch._replace(calls=first)
        # They are all of one kind, see `_take`.
        (self._waiting if first[0].key_prefix else self._nameless).extendleft(reversed(rest))


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
        # The path was matched before anybody asked for a key.
        target=scope["path"][:_MOST_TARGET_CHARACTERS]
        if route.startswith("/v1/admin/") and principal
        else None,
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
