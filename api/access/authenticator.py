"""API keys, looked up in PostgreSQL and remembered for a while."""

import hmac
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from psycopg_pool import AsyncConnectionPool

from api.access.auth import Principal, RefusedKeyError
from api.access.key_look_up import KeyLookUp
from api.access.key_uses import KeyUses
from api.database.fetching import Row
from common.clock import Clock
from common.errors import DatabaseUnavailableError
from common.tenancy.plans import Limits
from common.tenancy.secrets import digest, parse_prefix

_FRESH = timedelta(seconds=1)  # a revoked key, or one of a suspended tenant, works no longer than this
_STALE = timedelta(hours=1)  # a known key outlives an outage of PostgreSQL this long
_KNOWN_KEYS = 10_000
_REFUSED_KEYS = 1_000
_UNKNOWN = "this API key is unknown or revoked"

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class _Known:
    """A key as PostgreSQL knew it: believed until `fresh_until`, or until `stale_until` while PostgreSQL is away."""

    principal: Principal
    expires_at: datetime | None
    suspended: bool
    fresh_until: datetime
    stale_until: datetime

    def allows(self, now: datetime) -> Principal:
        if self.expires_at is not None and self.expires_at <= now:
            raise _unauthorized("this API key has expired", self.principal)
        if self.suspended:
            detail = "this tenant is suspended; what it sent before still arrives"
            raise RefusedKeyError(403, "tenant_suspended", detail, self.principal)
        return self.principal


@dataclass(frozen=True, slots=True)
class _Refused:
    """A key that is revoked, and whose it was, or that there is not."""

    principal: Principal | None
    until: datetime


class Authenticator:
    """Turns an ``Authorization`` header into a `Principal`.

    What PostgreSQL says on a key, yes or no, holds for a second. While it is away, or does not answer, a key that was
    known goes on working for up to an hour, so that an outage of the database does not stop the ingest. Memory holds
    digests of keys, never keys: no more than 10,000 known ones, and apart from those, so that nobody drives them out,
    1,000 refused ones.
    """

    def __init__(self, database: AsyncConnectionPool, uses: KeyUses, clock: Clock) -> None:
        self._look_up = KeyLookUp(database, clock)
        self._uses = uses
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._refused: OrderedDict[bytes, _Refused] = OrderedDict()

    async def authenticate(self, authorization: str | None) -> Principal:
        """The principal of an ``Authorization`` header.

        Raises:
            RefusedKeyError: 401; the header is missing or malformed, or the key unknown, revoked or expired. 403; its
                tenant is suspended.
            DatabaseUnavailableError: the key is not among the remembered ones and cannot be looked up.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized("send an API key as 'Authorization: Bearer sspp_live_…'")
        key = key.strip()
        key_digest, now = digest(key), self._clock()
        known = self._known.get(key_digest)
        if known is None or now >= known.fresh_until:
            known = await self._ask(key, key_digest, now, known)
        principal = known.allows(now)
        self._uses.note(principal.tenant_id, principal.key_id, now)
        return principal

    async def _ask(self, key: str, key_digest: bytes, now: datetime, known: _Known | None) -> _Known:
        """What PostgreSQL says of the key, and is remembered; what is `known` of it, if that cannot be had soon."""
        prefix = parse_prefix(key)
        if prefix is None:
            raise _unauthorized("this does not have the form of an API key, sspp_live_<prefix>_<secret>")
        refused = self._refused.get(key_digest)
        if refused is not None and now < refused.until:
            raise _unauthorized(_UNKNOWN, refused.principal)
        if known is None or now >= known.stale_until:
            row = await self._look_up.find(prefix, now)
        else:
            try:
                row = await self._look_up.find(prefix, now, late=partial(self._learn, key_digest, now))
            except DatabaseUnavailableError:
                return known
        learnt = self._learn(key_digest, now, row)
        if isinstance(learnt, _Refused):
            raise _unauthorized(_UNKNOWN, learnt.principal)
        return learnt

    def _learn(self, key_digest: bytes, now: datetime, row: Row | None) -> _Known | _Refused:
        """Remember what PostgreSQL says, to a question of `now`, of the key with this digest."""
        principal = None
        if row is not None and hmac.compare_digest(row["key_hash"], key_digest):
            principal = _principal(row)
            if not row["revoked"]:
                known = _Known(
                    principal,
                    row["expires_at"],
                    row["tenant_status"] == "suspended",
                    now + _FRESH,
                    now + _STALE,
                )
                _remember(self._known, key_digest, known, most=_KNOWN_KEYS)
                return known
        self._known.pop(key_digest, None)
        refused = _Refused(principal, now + _FRESH)
        _remember(self._refused, key_digest, refused, most=_REFUSED_KEYS)
        return refused


def _principal(row: Row) -> Principal:
    return Principal(
        row["tenant_id"],
        row["slug"],
        row["key_id"],
        row["prefix"],
        frozenset(row["scopes"]),
        row["plan"],
        Limits(row["requests_per_second"], row["events_per_second"], row["monthly_events"]),
        row["events_used"],
        frozenset(row["allowed_origins"]),
        row["kind"] == "publishable",
    )


def _remember(memory: OrderedDict[bytes, _Item], key_digest: bytes, item: _Item, *, most: int) -> None:
    """Put `item` in, and the one that was put in longest ago out if there are too many."""
    memory[key_digest] = item
    memory.move_to_end(key_digest)
    if len(memory) > most:
        memory.popitem(last=False)


def _unauthorized(detail: str, principal: Principal | None = None) -> RefusedKeyError:
    return RefusedKeyError(401, "unauthorized", detail, principal, headers={"WWW-Authenticate": "Bearer"})
