"""API keys of a tenant: making, listing, rotating and revoking them."""

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from common.clock import system_clock
from common.database.queries import Queries
from common.errors import SsppError
from common.tenancy.secrets import Kind, digest, new_key, parse_prefix
from common.tenancy.tenants import Connection, Tenant, find_tenant, list_of_tenant

Scope = Literal["ingest", "read", "tenant_admin", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What a key may allow: to send events, to read, all of its tenant's affairs, all tenants' affairs."""

MOST_DAYS = 36_500
"""For how long a key may be made."""

MOST_USABLE = 1_000
"""How many usable keys a tenant may have, or a few more, if some are made at the same time."""

_sql = Queries(__package__, "keys.sql")


class ApiKeyError(SsppError):
    """There is no such API key, or it cannot be made."""

    code = "api_key_error"


class InvalidKeyError(ApiKeyError):
    """No key can be as it is wanted; `path` is a JSON Pointer (RFC 6901) to what is wrong."""

    code = "invalid_api_key"

    def __init__(self, detail: str, path: str) -> None:
        super().__init__(detail)
        self.path = path


class UnknownKeyError(ApiKeyError):
    """The tenant has no such key."""

    code = "unknown_api_key"

    def __init__(self, tenant_slug: str, prefix: str) -> None:
        super().__init__(f"tenant {tenant_slug!r} has no key with the prefix {prefix!r}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key after it was made: everything but its secret. `tenant` is the tenant's slug.

    `key_id` numbers keys in the order of their making. `last_used_at` is right to about a minute.
    """

    key_id: int
    tenant: str
    prefix: str
    kind: Kind
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Life:
    """When a key expires, which a rotation changes; and for how long it was made, which its successors inherit."""

    expires_at: datetime | None
    lifetime: timedelta | None


def create_key(
    connection: Connection,
    tenant_slug: str,
    name: str,
    scopes: Collection[str],
    expires_at: datetime | None = None,
    kind: Kind = "secret",
    *,
    local: bool = False,
) -> str:
    """Make a key and return it whole, for the only time. `name` is for people; `expires_at` is aware.

    On a `local` stack, whose tenant belongs to whoever runs the platform, its keys too may have the scope ``admin``.

    Raises:
        UnknownTenantError: there is no such tenant.
        InvalidKeyError: no scope, one that does not exist, more than a publishable key may have, or ``admin`` for
            another tenant than the platform; or it expires in the past, or in more than `MOST_DAYS`.
        ApiKeyError: the tenant is deleted, or has `MOST_USABLE` usable keys.
    """
    tenant = find_tenant(connection, tenant_slug)
    _check_scopes(scopes, kind)
    if "admin" in scopes and tenant.tenant_id != 0 and not local:
        detail = "admin is all tenants' affairs: only keys of the platform's own tenant have it"
        raise InvalidKeyError(detail, "/scopes")
    lifetime = None if expires_at is None else expires_at - system_clock()
    if lifetime is not None and not timedelta(0) < lifetime <= timedelta(days=MOST_DAYS):
        raise InvalidKeyError("a key expires within 100 years from now", "/expires_at")
    if tenant.status == "deleted":
        raise ApiKeyError(f"tenant {tenant_slug!r} is deleted")
    return _insert(connection, tenant, name, scopes, kind, _Life(expires_at, lifetime))


def ensure_key(
    connection: Connection, tenant_slug: str, name: str, scopes: Sequence[str], existing: str | None
) -> str:
    """`existing`, if it is a usable key of this tenant that has all `scopes`; a new key otherwise.

    For the local stack, see `create_key`, which says what is raised, too.
    """
    if existing and _is_usable(connection, tenant_slug, scopes, existing):
        return existing
    return create_key(connection, tenant_slug, name, scopes, local=True)


def list_keys(
    connection: Connection,
    tenant_slug: str | None = None,
    *,
    after: int | None = None,
    limit: int | None = None,
) -> list[ApiKey]:
    """The keys of one tenant or, without a slug, of all; the revoked and expired ones too.

    Those of a tenant in the order of their making: all, or `limit` of those whose `key_id` is greater than `after`.

    Raises:
        UnknownTenantError: there is no such tenant.
    """
    return list_of_tenant(connection, _sql.list_keys, ApiKey, tenant_slug, after=after, limit=limit)


def rotate_key(
    connection: Connection,
    tenant_slug: str,
    prefix: str,
    overlap: timedelta,
    *,
    most_scopes: Collection[str] = SCOPES,
) -> str:
    """Make a key like this one and return it whole, for the only time; the old one expires after `overlap`.

    If the old one was made to live for some time, so is the new one, whatever earlier rotations left of it. Keys with
    other scopes than `most_scopes` are as if they did not exist: nobody may get hold of more than they have.

    Raises:
        UnknownTenantError: there is no such tenant.
        UnknownKeyError: the tenant has no such key, or it is revoked or expired.
        ApiKeyError: the tenant has `MOST_USABLE` usable keys. Without an overlap the old one is none of them.
    """
    tenant = find_tenant(connection, tenant_slug)
    with connection.transaction():
        key = {"tenant_id": tenant.tenant_id, "prefix": prefix}
        old = connection.execute(_sql.lock_usable_key, key | {"most_scopes": list(most_scopes)}).fetchone()
        if old is None:
            raise UnknownKeyError(tenant_slug, prefix)
        kind, name, scopes, lifetime = old
        connection.execute(_sql.retire_key, key | {"overlap": overlap})
        expires_at = None if lifetime is None else system_clock() + lifetime
        return _insert(connection, tenant, name, scopes, kind, _Life(expires_at, lifetime))


def revoke_key(
    connection: Connection, tenant_slug: str, prefix: str, *, most_scopes: Collection[str] = SCOPES
) -> None:
    """Make a key of the tenant invalid for good, by its prefix; one that is revoked already stays so.

    Keys with other scopes than `most_scopes` are as if they did not exist.

    Raises:
        UnknownTenantError: there is no such tenant.
        UnknownKeyError: the tenant has no such key.
    """
    tenant_id = find_tenant(connection, tenant_slug).tenant_id
    key = {"tenant_id": tenant_id, "prefix": prefix, "most_scopes": list(most_scopes)}
    if connection.execute(_sql.revoke_key, key).fetchone() is None:
        raise UnknownKeyError(tenant_slug, prefix)


def _check_scopes(scopes: Collection[str], kind: Kind) -> None:
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        named = ", ".join(sorted(unknown)) or "no scope"
        raise InvalidKeyError(f"{named}: a key has some of the scopes {', '.join(SCOPES)}", "/scopes")
    if kind == "publishable" and set(scopes) != {"ingest"}:
        detail = "a publishable key, which everybody can read, has the scope ingest and no other"
        raise InvalidKeyError(detail, "/scopes")


def _insert(
    connection: Connection,
    tenant: Tenant,
    name: str,
    scopes: Collection[str],
    kind: Kind,
    life: _Life,
) -> str:
    identity = {"tenant_id": tenant.tenant_id}
    [(usable,)] = connection.execute(_sql.count_usable_keys, identity).fetchall()
    if usable >= MOST_USABLE:
        raise ApiKeyError(
            f"tenant {tenant.slug!r} has {usable:,} usable keys; revoke those that nobody needs"
        )
    secret, prefix, key_hash = new_key(kind)
    connection.execute(
        _sql.create_key,
        {
            "tenant_id": tenant.tenant_id,
            "prefix": prefix,
            "key_hash": key_hash,
            "kind": kind,
            "name": name,
            "scopes": [scope for scope in SCOPES if scope in scopes],
            "expires_at": life.expires_at,
            "lifetime": life.lifetime,
        },
    )
    return secret


def _is_usable(connection: Connection, tenant_slug: str, scopes: Sequence[str], secret: str) -> bool:
    row = connection.execute(
        _sql.find_usable_key,
        {
            "tenant_id": find_tenant(connection, tenant_slug).tenant_id,
            "prefix": parse_prefix(secret),
            "scopes": list(scopes),
        },
    ).fetchone()
    return row is not None and hmac.compare_digest(row[0], digest(secret))
