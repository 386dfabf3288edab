"""What statements that change the schema need, beside their SQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]


def format_ddl(statement: LiteralString, **parts: str | datetime) -> sql.Composed:
    """DDL takes no parameters: names become identifiers, instants literals."""
    return sql.SQL(statement).format(
        **{
            key: sql.Identifier(part) if isinstance(part, str) else sql.Literal(part)
            for key, part in parts.items()
        }
    )


@contextmanager
def autocommit(connection: Connection) -> Iterator[None]:
    """Run each statement on its own, outside of any transaction, and put things back afterwards."""
    before = connection.autocommit
    connection.autocommit = True
    try:
        yield
    finally:
        if not connection.closed:
            connection.autocommit = before
