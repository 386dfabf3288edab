"""Who is asking: API keys, looked up in PostgreSQL and remembered for a while."""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Literal

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg_pool import AsyncConnectionPool

from api.database import fetch_one
from api.errors import ProblemError
from common.api_keys import digest, parse_prefix
from common.clock import Clock
from common.database.queries import Queries
from common.errors import DatabaseUnavailableError

Scope = Literal["ingest", "read", "admin"]

_FRESH = timedelta(seconds=10)  # a revoked key works no longer than this
_STALE = timedelta(hours=1)  # a known key outlives an outage of PostgreSQL this long
_PAUSE = timedelta(seconds=5)  # between two attempts to reach a PostgreSQL that is away
_LOOK_UP_SECONDS = 2.0
_REMEMBERED_KEYS = 10_000

_sql = Queries("api", "auth.sql")
_bearer = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="sspp_<prefix>_<secret>",
    description="An API key, made with `sspp keys`. Its scopes are `ingest`, `read` and `admin`, which is all.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a request acts for: a tenant, through one of its keys."""

    tenant_id: int
    key_id: int
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Whether the key allows `scope`; ``admin`` allows everything."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found out about a key, and when; no principal means that there is no such key."""

    checked_at: datetime
    principal: Principal | None = None
    expires_at: datetime | None = None

    def allows(self, now: datetime) -> Principal:
        if self.principal is None:
            raise _unauthorized("this API key is unknown or revoked")
        if self.expires_at is not None and self.expires_at <= now:
            raise _unauthorized("this API key has expired")
        return self.principal


class Authenticator:
    """Turns an ``Authorization`` header into a `Principal`.

    What PostgreSQL says on a key, yes or no, holds for 10 seconds. While PostgreSQL is away, a key that was
    known goes on working for up to an hour, so that an outage of the database does not stop the ingest.
    Memory holds digests of keys, never keys, and no more than 10,000 of them.
    """

    def __init__(self, database: AsyncConnectionPool, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._away_until: datetime | None = None

    async def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an ``Authorization`` header.

        Raises:
            ProblemError: 401; the header is missing or malformed, or the key unknown, revoked or expired.
            DatabaseUnavailableError: the key is not among the remembered ones and cannot be looked up.
        """
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer":
            raise _unauthorized("send an API key as 'Authorization: Bearer sspp_…'")
        prefix = parse_prefix(key)
        if prefix is None:
            raise _unauthorized("this does not have the form of an API key, sspp_<prefix>_<secret>")

        key_digest, now = digest(key), self._clock()
        known = self._known.get(key_digest)
        if known is None or now - known.checked_at >= _FRESH:
            try:
                found = await self._look_up(prefix, key_digest, now)
            except DatabaseUnavailableError:
                if known is None or known.principal is None or now - known.checked_at >= _STALE:
                    raise
            else:
                known = found
                self._remember(key_digest, found)
        return known.allows(now)

    async def _look_up(self, prefix: str, key_digest: bytes, now: datetime) -> _Known:
        if self._away_until is not None and now < self._away_until:
            raise DatabaseUnavailableError
        if self._away_until is not None:
            # One request tries again; the others meanwhile live on what is remembered and wait for nothing.
            self._away_until = now + _PAUSE
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                row = await fetch_one(self._database, _sql.find_key, {"prefix": prefix})
        except (DatabaseUnavailableError, TimeoutError):
            self._away_until = self._clock() + _PAUSE
            raise DatabaseUnavailableError from None
        self._away_until = None
        if row is None or not hmac.compare_digest(row["key_hash"], key_digest):
            return _Known(now)
        principal = Principal(row["tenant_id"], row["key_id"], frozenset(row["scopes"]))
        return _Known(now, principal, row["expires_at"])

    def _remember(self, key_digest: bytes, known: _Known) -> None:
        self._known[key_digest] = known
        self._known.move_to_end(key_digest)
        if len(self._known) > _REMEMBERED_KEYS:
            self._known.popitem(last=False)


async def authorize(request: Request, scope: Scope) -> Principal:
    """The request's principal, whose key must allow `scope`.

    Raises:
        ProblemError: 401 without a valid key, 403 without the scope.
        DatabaseUnavailableError: the key cannot be looked up.
    """
    authenticator: Authenticator = request.app.state.services.authenticator
    found = await authenticator.authenticate(request.headers.get("authorization"))
    if not found.may(scope):
        raise ProblemError(
            403,
            "missing_scope",
            f"this API key lacks the scope '{scope}'",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )
    return found


@cache
def requires(scope: Scope) -> Callable[..., Awaitable[Principal]]:
    """`authorize` as a FastAPI dependency."""

    async def principal(
        request: Request,
        # Only declares the scheme for OpenAPI: `authenticate` reads the header itself.
        _declared: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Principal:
        return await authorize(request, scope)

    return principal


def _unauthorized(detail: str) -> ProblemError:
    return ProblemError(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
