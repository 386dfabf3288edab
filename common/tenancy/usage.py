"""Usage: how many new events of a tenant were stored, by the month of their arrival, in UTC.

The store stage counts them by the transaction that stores them, so they agree with the store. An event that came again
or was refused is none; one that is erased later has been one.
"""

from common.database.queries import Queries
from common.tenancy.tenants import Connection

_sql = Queries(__package__, "usage.sql")

LIST_USAGE = _sql.list_usage
"""A query with the parameters ``tenant_id`` and ``limit``: ``month`` (its first day) and ``events``, newest first."""


def events_this_month(connection: Connection, tenant_id: int) -> int:
    """The new events of a tenant that arrived in this month and are stored."""
    row = connection.execute(_sql.find_usage, {"tenant_id": tenant_id}).fetchone()
    return row[0] if row else 0
