"""Tenants: the companies whose events the platform takes in, each known by its slug."""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from common.database.queries import Queries
from common.errors import SsppError
from infrastructure.database.connections import Connection

_sql = Queries(__package__, "tenants.sql")


class TenantError(SsppError):
    """There is no such tenant, or it cannot be made."""

    code = "tenant_error"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant; tenant 0 is the platform itself."""

    tenant_id: int
    slug: str
    name: str
    created_at: datetime


def tenant_id_of(connection: Connection, slug: str) -> int:
    """The id of the tenant named `slug`.

    Raises:
        TenantError: there is none.
    """
    row = connection.execute(_sql.find_tenant, {"slug": slug}).fetchone()
    if row is None:
        raise TenantError(f"there is no tenant {slug!r}; see: sspp tenants list")
    return int(row[0])


def list_tenants(connection: Connection) -> list[Tenant]:
    """All tenants in the order of their making, the platform first."""
    with connection.cursor(row_factory=class_row(Tenant)) as cursor:
        return cursor.execute(_sql.list_tenants).fetchall()


def create_tenant(connection: Connection, slug: str, name: str) -> Tenant:
    """Make a tenant.

    Raises:
        TenantError: the slug is taken, or is not made of small letters, digits and hyphens.
    """
    try:
        with connection.cursor(row_factory=class_row(Tenant)) as cursor:
            return cursor.execute(_sql.create_tenant, {"slug": slug, "name": name}).fetchall()[0]
    except psycopg.errors.UniqueViolation as error:
        raise TenantError(f"a tenant {slug!r} exists already") from error
    except psycopg.errors.CheckViolation as error:
        raise TenantError(
            f"{slug!r} is no tenant slug: 1 to 63 small letters, digits and hyphens, no hyphen first"
        ) from error
