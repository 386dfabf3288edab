"""Tenants: the companies whose events the platform takes in, each known by its slug."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString, TypeAlias, TypeVar, get_args

import psycopg
from psycopg.rows import class_row

from common.database.queries import Queries
from common.tenancy.errors import TenantError
from common.tenancy.origins import parse_origin

Status = Literal["active", "suspended", "deleted"]
Plan = Literal["trial", "starter", "pro", "enterprise"]
PLANS: tuple[Plan, ...] = get_args(Plan)
MOST_RETENTION_DAYS = 36_500

Connection: TypeAlias = psycopg.Connection[Any]
Row = TypeVar("Row")

_sql = Queries(__package__, "tenants.sql")


class UnknownTenantError(TenantError):
    """There is no tenant of this name."""

    code = "unknown_tenant"

    def __init__(self, slug: str) -> None:
        super().__init__(f"there is no tenant {slug!r}; see: sspp tenants list")


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant; tenant 0 is the platform itself.

    `suspended`: its requests are answered 403, and what it sent before still arrives. `deleted`: its keys are as if
    they did not exist, for good. `allowed_origins` are those of the web pages that may send events. Events are kept for
    `retention_days`, or if that is None for as long as their partitions are.
    """

    tenant_id: int
    slug: str
    name: str
    status: Status
    status_since: datetime
    plan: Plan
    allowed_origins: list[str]
    retention_days: int | None
    created_at: datetime


def find_tenant(connection: Connection, slug: str) -> Tenant:
    """The tenant named `slug`.

    Raises:
        UnknownTenantError: there is none.
    """
    with connection.cursor(row_factory=class_row(Tenant)) as cursor:
        tenant = cursor.execute(_sql.find_tenant, {"slug": slug}).fetchone()
    if tenant is None:
        raise UnknownTenantError(slug)
    return tenant


def list_of_tenant(
    connection: Connection, statement: LiteralString, row: type[Row], slug: str | None, **more: object
) -> list[Row]:
    """What `statement`, with the parameters ``tenant_id`` and `more`, finds of one tenant or, without a slug, of all.

    Raises:
        UnknownTenantError: there is no such tenant.
    """
    tenant_id = None if slug is None else find_tenant(connection, slug).tenant_id
    with connection.cursor(row_factory=class_row(row)) as cursor:
        return cursor.execute(statement, {"tenant_id": tenant_id, **more}).fetchall()


def list_tenants(
    connection: Connection, *, after: int | None = None, limit: int | None = None
) -> list[Tenant]:
    """Tenants in the order of their making, the platform first: all, or `limit` of those that follow tenant `after`."""
    with connection.cursor(row_factory=class_row(Tenant)) as cursor:
        return cursor.execute(_sql.list_tenants, {"after": after, "limit": limit}).fetchall()


def create_tenant(connection: Connection, slug: str, name: str, plan: Plan = "enterprise") -> Tenant:
    """Make a tenant. Without a plan named it has the one without limits.

    Raises:
        TenantError: the slug is taken, or is not made of small letters, digits and hyphens.
    """
    try:
        with connection.cursor(row_factory=class_row(Tenant)) as cursor:
            return cursor.execute(_sql.create_tenant, {"slug": slug, "name": name, "plan": plan}).fetchall()[
                0
            ]
    except psycopg.errors.UniqueViolation as error:
        raise TenantError(f"a tenant {slug!r} exists already") from error
    except psycopg.errors.CheckViolation as error:
        raise TenantError(
            f"{slug!r} is no tenant slug: 1 to 63 small letters, digits and hyphens, no hyphen first"
        ) from error


def change_tenant(
    connection: Connection,
    slug: str,
    *,
    plan: Plan | None = None,
    allowed_origins: Sequence[str] | None = None,
    retention_days: int | None = None,
) -> Tenant:
    """Change what is not None; within 2 seconds everybody knows. No days of retention, 0, are those of the partitions.

    Raises:
        UnknownTenantError: there is none.
        InvalidOriginError: an origin is not that of a web page.
        TenantError: it is deleted, which leaves nothing but the retention to change; or no event can be kept for so
            many days.
    """
    if retention_days is not None and not 0 <= retention_days <= MOST_RETENTION_DAYS:
        raise TenantError(
            f"events are kept for 1 to {MOST_RETENTION_DAYS} days; 0 means as long as their partitions"
        )
    origins = None if allowed_origins is None else _parse_origins(allowed_origins)
    with connection.cursor(row_factory=class_row(Tenant)) as cursor:
        changes = {
            "slug": slug,
            "plan": plan,
            "allowed_origins": origins,
            "retention_days": retention_days,
        }
        tenant = cursor.execute(_sql.change_tenant, changes).fetchone()
    if tenant is not None:
        return tenant
    find_tenant(connection, slug)
    raise TenantError(f"tenant {slug!r} is deleted, for good")


def set_status(connection: Connection, slug: str, status: Status) -> Tenant:
    """Suspend a tenant, let it go on, or delete it, which is for good; within 2 seconds everybody knows.

    Its data stays: what it sent before still arrives. That of a deleted one goes when the retention of the platform or
    its own is over, and then its customers do (worker/maintenance/upkeep.py); without either it stays for good.

    Raises:
        UnknownTenantError: there is none.
        TenantError: it is deleted already, or is the platform itself.
    """
    with connection.cursor(row_factory=class_row(Tenant)) as cursor:
        tenant = cursor.execute(_sql.set_status, {"slug": slug, "status": status}).fetchone()
    if tenant is not None:
        return tenant
    found = find_tenant(connection, slug)
    if found.status == status:
        return found
    what = "is the platform itself" if found.tenant_id == 0 else "is deleted, for good"
    raise TenantError(f"tenant {slug!r} {what}")


def _parse_origins(texts: Sequence[str]) -> list[str]:
    """The origins, each once."""
    parsed = (parse_origin(text, f"/allowed_origins/{index}") for index, text in enumerate(texts))
    return list(dict.fromkeys(parsed))
