"""API keys of a tenant: making, listing and revoking them."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from common.api_keys import SCOPES, digest, new_key, parse_prefix
from common.database.queries import Queries
from common.errors import SsppError
from infrastructure.database.connections import Connection, connect
from infrastructure.database.tenants import tenant_id_of

_sql = Queries(__package__, "keys.sql")


class ApiKeyError(SsppError):
    """There is no such API key, or it cannot be made."""

    code = "api_key_error"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key after it was made: everything but its secret. `tenant` is the tenant's slug."""

    tenant: str
    prefix: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def create_key(
    connection: Connection,
    tenant_slug: str,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
) -> str:
    """Make a key and return it whole, for the only time. `name` is for people; `expires_at` is aware.

    Raises:
        TenantError: there is no such tenant.
        ApiKeyError: no scope, or one that does not exist.
    """
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise ApiKeyError(
            f"{', '.join(sorted(unknown)) or 'no scope'}: a key has some of the scopes {', '.join(SCOPES)}"
        )
    secret, prefix, key_hash = new_key()
    connection.execute(
        _sql.create_key,
        {
            "tenant_id": tenant_id_of(connection, tenant_slug),
            "prefix": prefix,
            "key_hash": key_hash,
            "name": name,
            "scopes": sorted(set(scopes), key=SCOPES.index),
            "expires_at": expires_at,
        },
    )
    return secret


def ensure_key(
    database_url: str, tenant_slug: str, name: str, scopes: Sequence[str], existing: str | None
) -> str:
    """`existing`, if it is a usable key of this tenant that has all `scopes`; a new key otherwise.

    Raises:
        TenantError: there is no such tenant.
        ApiKeyError: no scope, or one that does not exist.
        DatabaseUnavailableError: the server cannot be reached.
    """
    with connect(database_url) as connection:
        if existing and _is_usable(connection, tenant_slug, scopes, existing):
            return existing
        return create_key(connection, tenant_slug, name, scopes)


def list_keys(connection: Connection, tenant_slug: str | None = None) -> list[ApiKey]:
    """The keys of one tenant or, without a slug, of all; the revoked and expired ones too.

    Raises:
        TenantError: there is no such tenant.
    """
    tenant_id = None if tenant_slug is None else tenant_id_of(connection, tenant_slug)
    with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        return cursor.execute(_sql.list_keys, {"tenant_id": tenant_id}).fetchall()


def revoke_key(connection: Connection, tenant_slug: str, prefix: str) -> None:
    """Make a key of the tenant invalid for good, by its prefix; one that is revoked already stays so.

    Raises:
        TenantError: there is no such tenant.
        ApiKeyError: the tenant has no such key.
    """
    tenant_id = tenant_id_of(connection, tenant_slug)
    if connection.execute(_sql.revoke_key, {"tenant_id": tenant_id, "prefix": prefix}).fetchone() is None:
        raise ApiKeyError(f"tenant {tenant_slug!r} has no key with the prefix {prefix!r}")


def _is_usable(connection: Connection, tenant_slug: str, scopes: Sequence[str], secret: str) -> bool:
    row = connection.execute(
        _sql.find_usable_key,
        {
            "tenant_id": tenant_id_of(connection, tenant_slug),
            "prefix": parse_prefix(secret),
            "scopes": list(scopes),
        },
    ).fetchone()
    return row is not None and hmac.compare_digest(row[0], digest(secret))
