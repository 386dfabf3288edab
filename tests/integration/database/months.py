"""What the tests of the months' partitions share: events of a month, and ways to see where they are."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]

# Far from the present, so that the months that the migration made are none of ours.
NOW = datetime(2050, 1, 31, 23, 30, tzinfo=UTC)


def store(connection: Connection, received_at: datetime) -> UUID:
    """One event with its key and its signal, received at that instant."""
    key = uuid4()
    row = {"key": key, "at": received_at}
    with connection.transaction():
        connection.execute("INSERT INTO event_keys VALUES (%(key)s, 1, %(at)s)", row)
        connection.execute(
            "INSERT INTO events VALUES (%(key)s, %(at)s, 1, 1, 'e', 't', 'c', %(at)s, NULL, '{}')", row
        )
        connection.execute(
            "INSERT INTO signals VALUES"
            " (%(key)s, %(at)s, 1, 'e', 't', 'c', 'intent', 0.5, %(at)s, NULL, NULL, NULL, '{}')",
            row,
        )
    return key


def home_of(connection: Connection, table: str, key: UUID) -> str | None:
    """The partition that holds the row."""
    column = "event_key" if table == "events" else "signal_id"
    row = connection.execute(
        f"SELECT tableoid::regclass::text FROM {table} WHERE {column} = %s", [key]
    ).fetchone()
    return row[0] if row else None
