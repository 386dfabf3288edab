"""Reading from PostgreSQL, one statement a request."""

from collections.abc import Mapping
from typing import Any, LiteralString

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from common.database.connections import translated_errors

Row = dict[str, Any]


async def fetch_all(
    database: AsyncConnectionPool, query: LiteralString, parameters: Mapping[str, object]
) -> list[Row]:
    """Run one reading statement and return its rows by column name.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away, or all connections stayed busy.
    """
    with translated_errors():
        async with database.connection() as connection:
            # A single statement is a transaction by itself: this spares two round trips.
            await connection.set_autocommit(True)
            async with connection.cursor(row_factory=dict_row) as cursor:
                await cursor.execute(query, parameters)
                return await cursor.fetchall()


async def fetch_one(
    database: AsyncConnectionPool, query: LiteralString, parameters: Mapping[str, object]
) -> Row | None:
    """Like `fetch_all`, for a statement that finds one row or none."""
    rows = await fetch_all(database, query, parameters)
    return rows[0] if rows else None
