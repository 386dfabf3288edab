"""What requests ask of PostgreSQL: each in a transaction of its own, which sees the rows of one tenant."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from api.database.tenant_pool import TenantPool
from common.database.connections import translated_errors
from common.database.tenancy import PLATFORM_AFFAIR, SET_TENANCY, of_tenant

Row = dict[str, Any]


async def fetch_all(
    database: AsyncConnectionPool, query: LiteralString, parameters: Mapping[str, object]
) -> list[Row]:
    """Run one statement and return its rows by column name.

    It sees the rows of the tenant that `parameters` name as ``tenant_id``, and of none if they name none: PostgreSQL
    sees to that, whatever the statement says.

    Raises:
        ShedError: 429; the tenant's other requests held its share of the pool for too long.
        DatabaseUnavailableError: PostgreSQL is away, or all connections stayed busy.
    """
    tenant_id = parameters.get("tenant_id")
    return await _fetch(_connection(database, tenant_id), query, parameters, of_tenant(tenant_id))


async def fetch_one(
    database: AsyncConnectionPool, query: LiteralString, parameters: Mapping[str, object]
) -> Row | None:
    """Like `fetch_all`, for a statement that finds one row or none."""
    rows = await fetch_all(database, query, parameters)
    return rows[0] if rows else None


async def run_for_platform(
    database: AsyncConnectionPool, query: LiteralString, parameters: Mapping[str, object]
) -> list[Row]:
    """Like `fetch_all`, for the platform's own affairs: tenants, keys and the outbox, of all tenants.

    For what nobody asked for; no request has it run with words of its own.
    """
    return await _fetch(database.connection(), query, parameters, PLATFORM_AFFAIR)


@asynccontextmanager
async def tenant_transaction(
    database: AsyncConnectionPool, tenant_id: int
) -> AsyncIterator[AsyncConnection[Any]]:
    """A transaction of several statements, which sees this tenant's rows.

    Raises:
        ShedError: as by `fetch_all`.
        DatabaseUnavailableError: as by `fetch_all`.
    """
    with translated_errors():
        async with _connection(database, tenant_id) as connection, connection.transaction():
            await connection.execute(SET_TENANCY, of_tenant(tenant_id))
            yield connection


def _connection(
    database: AsyncConnectionPool, tenant_id: object
) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
    """One of the tenant's share, where the pool has shares."""
    if isinstance(database, TenantPool) and isinstance(tenant_id, int):
        return database.connection_of(tenant_id)
    return database.connection()


async def _fetch(
    checked_out: AbstractAsyncContextManager[AsyncConnection[Any]],
    query: LiteralString,
    parameters: Mapping[str, object],
    tenancy: Mapping[str, str],
) -> list[Row]:
    with translated_errors():
        async with checked_out as connection, connection.cursor(row_factory=dict_row) as cursor:
            # All in one round trip. What is set lasts as long as the transaction, so no connection keeps a tenant.
            async with connection.pipeline(), connection.transaction():
                await connection.execute(SET_TENANCY, tenancy)
                await cursor.execute(query, parameters)
            return await cursor.fetchall() if cursor.description else []
