"""Who is asking: API keys, looked up in PostgreSQL and remembered for a while."""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg_pool import AsyncConnectionPool

from api.database import fetch_one
from api.errors import ProblemError
from api.key_uses import KeyUses
from common.clock import Clock
from common.database.queries import Queries
from common.errors import DatabaseUnavailableError
from common.tenancy.keys import SCOPES, Scope
from common.tenancy.plans import NO_LIMITS, Limits
from common.tenancy.secrets import digest, parse_prefix
from common.tenancy.tenants import Plan

_FRESH = timedelta(seconds=1)  # a revoked key, or one of a suspended tenant, works no longer than this
_STALE = timedelta(hours=1)  # a known key outlives an outage of PostgreSQL this long
_PAUSE = timedelta(seconds=5)  # between two attempts to reach a PostgreSQL that is away
_LOOK_UP_SECONDS = 2.0
_REMEMBERED_KEYS = 10_000

_sql = Queries("api", "auth.sql")
_bearer = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="sspp_live_<prefix>_<secret>",
    description="An API key, made with `sspp keys` or `/v1/admin`. Its scopes are `ingest`, `read`, `tenant_admin` (all"
    " of its tenant's affairs) and `admin` (those of all tenants).",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a request acts for: a tenant, through one of its keys; and what the tenant may do.

    `events_used` is its usage of this month, where its plan has a limit for that.
    """

    tenant_id: int
    tenant: str
    key_id: int
    key_prefix: str
    scopes: frozenset[str]
    plan: Plan = "enterprise"
    limits: Limits = NO_LIMITS
    events_used: int | None = None
    allowed_origins: frozenset[str] = frozenset()

    def may(self, scope: Scope) -> bool:
        """Whether the key allows `scope`: ``tenant_admin`` allows all but ``admin``, which allows everything."""
        return (
            scope in self.scopes
            or "admin" in self.scopes
            or ("tenant_admin" in self.scopes and scope != "admin")
        )

    def grants(self) -> list[Scope]:
        """The scopes that keys may have which this key makes, rotates or revokes."""
        return [scope for scope in SCOPES if self.may(scope)]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found out about a key, and when; no principal means that there is no such key."""

    checked_at: datetime
    principal: Principal | None = None
    expires_at: datetime | None = None
    suspended: bool = False

    def allows(self, now: datetime) -> Principal:
        if self.principal is None:
            raise _unauthorized("this API key is unknown or revoked")
        if self.expires_at is not None and self.expires_at <= now:
            raise _unauthorized("this API key has expired")
        if self.suspended:
            raise ProblemError(
                403, "tenant_suspended", "this tenant is suspended; what it sent before still arrives"
            )
        return self.principal


class Authenticator:
    """Turns an ``Authorization`` header into a `Principal`.

    What PostgreSQL says on a key, yes or no, holds for a second; many requests that come then ask it once. While
    PostgreSQL is away, a key that was known goes on working for up to an hour, so that an outage of the database does
    not stop the ingest. Memory holds digests of keys, never keys, and no more than 10,000 of them.
    """

    def __init__(self, database: AsyncConnectionPool, uses: KeyUses, clock: Clock) -> None:
        self._database = database
        self._uses = uses
        self._clock = clock
        self._asking: dict[bytes, asyncio.Task[_Known | None]] = {}
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
            raise _unauthorized("send an API key as 'Authorization: Bearer sspp_live_…'")
        prefix = parse_prefix(key)
        if prefix is None:
            raise _unauthorized("this does not have the form of an API key, sspp_live_<prefix>_<secret>")

        key_digest, now = digest(key), self._clock()
        known = self._known.get(key_digest)
        if known is None or now - known.checked_at >= _FRESH:
            found = await self._ask(prefix, key_digest, now)
            if found is not None:
                known = found
                self._remember(key_digest, found)
            elif known is None or known.principal is None or now - known.checked_at >= _STALE:
                raise DatabaseUnavailableError
        principal = known.allows(now)
        self._uses.note(principal.tenant_id, principal.key_id, now)
        return principal

    async def _ask(self, prefix: str, key_digest: bytes, now: datetime) -> _Known | None:
        """`_look_up`, shared by all who ask of the same key at the same time."""
        task = self._asking.get(key_digest)
        if task is None:
            task = asyncio.create_task(self._look_up(prefix, key_digest, now))
            self._asking[key_digest] = task
            task.add_done_callback(lambda _: self._asking.pop(key_digest))
        # A client that goes away takes nothing along that others wait for.
        return await asyncio.shield(task)

    async def _look_up(self, prefix: str, key_digest: bytes, now: datetime) -> _Known | None:
        """What PostgreSQL says of the key; None if it is away: an error would be shared by requests, and keep them."""
        if self._away_until is not None and now < self._away_until:
            return None
        if self._away_until is not None:
            # One request tries again; the others meanwhile live on what is remembered and wait for nothing.
            self._away_until = now + _PAUSE
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                row = await fetch_one(self._database, _sql.find_key, {"prefix": prefix})
        except (DatabaseUnavailableError, TimeoutError):
            self._away_until = self._clock() + _PAUSE
            return None
        self._away_until = None
        if row is None or not hmac.compare_digest(row["key_hash"], key_digest):
            return _Known(now)
        principal = Principal(
            row["tenant_id"],
            row["slug"],
            row["key_id"],
            prefix,
            frozenset(row["scopes"]),
            row["plan"],
            Limits(row["requests_per_second"], row["events_per_second"], row["monthly_events"]),
            row["events_used"],
            frozenset(row["allowed_origins"]),
        )
        return _Known(now, principal, row["expires_at"], suspended=row["tenant_status"] == "suspended")

    def _remember(self, key_digest: bytes, known: _Known) -> None:
        self._known[key_digest] = known
        self._known.move_to_end(key_digest)
        if len(self._known) > _REMEMBERED_KEYS:
            self._known.popitem(last=False)


async def authorize(request: Request, scope: Scope) -> Principal:
    """The request's principal, whose key must allow `scope`.

    Raises:
        ProblemError: 401 without a valid key, 403 without the scope.
        ShedError: 429, the tenant sends more requests than its plan allows.
        DatabaseUnavailableError: the key cannot be looked up.
    """
    authenticator: Authenticator = request.app.state.services.authenticator
    found = await authenticator.authenticate(request.headers.get("authorization"))
    request.scope["sspp.principal"] = found  # for the log of calls
    await request.app.state.services.rate_limits.admit_request(request.scope, found)
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
