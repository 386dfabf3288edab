"""Whether the API's database role has rights by which a fault of the API could reach the data of all tenants."""

from collections.abc import Mapping

from common.database.queries import Queries

SELECT_RIGHTS = Queries("api.database", "rights.sql").select_rights
"""Its one row is for `excess_rights`."""


def excess_rights(row: Mapping[str, bool] | None) -> str | None:
    """Why the role must not be the API's in production, and the cure; None if it may."""
    if row is None:
        return None
    if row["bypasses"]:
        why = "is not bound by row-level security"
    elif row["owns_tables"]:
        why = "owns the tables, so that it could lift row-level security"
    else:
        return None
    return f"DATABASE_URL: its role {why}; connect as sspp_api (sspp roles enable sspp_api)"
