"""Which rows a transaction may see: those of one tenant, or what is the platform's own affair.

Row-level security reads it (migration 0011) for whoever connects as the API's role. Workers and commands have a role
that sees all rows, and name the tenant in each statement as everybody does.
"""

from collections.abc import Mapping

from common.database.queries import Queries

SET_TENANCY = Queries("common.database", "tenancy.sql").set_tenancy
"""Begins a transaction, for the whole of which it holds; the parameters are one of those below."""

PLATFORM_AFFAIR: Mapping[str, str] = {"tenant": "", "platform": "on"}


def of_tenant(tenant_id: object | None) -> Mapping[str, str]:
    """The rows of this tenant; of none without an id."""
    return {"tenant": "" if tenant_id is None else str(tenant_id), "platform": ""}
