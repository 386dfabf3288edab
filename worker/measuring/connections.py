"""A connection for measuring: what is asked on it gives up soon, as measuring must not weigh on what it measures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Cursor
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from common.database.connections import translated_errors
from common.database.queries import Queries

_sql = Queries(__package__, "database.sql")


@contextmanager
def measuring_cursor(pool: ConnectionPool, *, seconds: int = 5) -> Iterator[Cursor[dict[str, Any]]]:
    """A cursor in a transaction of its own that writes nothing, whose rows are dicts.

    A statement takes `seconds` at most, and waits for a lock for two.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away, or a statement took longer.
    """
    with (
        translated_errors(),
        pool.connection(timeout=2) as connection,
        connection.transaction(),
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        cursor.execute(_sql.bound_transaction, {"timeout": f"{seconds}s"})
        yield cursor
