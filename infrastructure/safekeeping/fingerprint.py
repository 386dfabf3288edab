"""What tells whether two databases hold the same rows: for each table how many, and a checksum over all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from common.database.ddl import format_ddl
from common.database.queries import Queries
from infrastructure.database.connections import Connection

_sql = Queries(__package__, "fingerprint.sql")


@dataclass(frozen=True, slots=True)
class TableState:
    """How many rows a table has, and the sum of 64-bit hashes of their texts."""

    rows: int
    checksum: str


def list_tables(connection: Connection) -> list[str]:
    """The platform's tables by name, each with its partitions."""
    return [name for (name,) in connection.execute(_sql.list_tables)]


def take_fingerprint(
    connection: Connection, *, counted: Callable[[str], object] = lambda _: None
) -> dict[str, TableState]:
    """The state of each table. Within one snapshot if the caller's transaction is one; reads every row.

    Args:
        connection: of a role that sees all rows, in UTC.
        counted: is told each table when it is done.
    """
    connection.execute(_sql.wait_for_nothing)
    states = {}
    for table in list_tables(connection):
        states[table] = state_of(connection, table)
        counted(table)
    return states


def state_of(connection: Connection, table: str) -> TableState:
    """The state of one table or partition; reads every row."""
    row = connection.execute(format_ddl(_sql.take_fingerprint, table=table)).fetchone()
    assert row is not None
    return TableState(*row)


def differences(expected: Mapping[str, TableState], found: Mapping[str, TableState]) -> list[str]:
    """What differs, a phrase for each table."""
    told = []
    for table in sorted(expected.keys() | found.keys()):
        was, is_now = expected.get(table), found.get(table)
        if was is None or is_now is None:
            told.append(f"{table} is {'missing' if is_now is None else 'not in the backup'}")
        elif was.rows != is_now.rows:
            told.append(f"{table} has {is_now.rows:,} rows instead of {was.rows:,}")
        elif was != is_now:
            told.append(f"{table} has as many rows, but others")
    return told
