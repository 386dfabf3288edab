"""What PostgreSQL holds of customers that are erased: found, deleted, counted."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString, NamedTuple
from uuid import UUID

from common.database.ddl import Connection
from common.database.queries import Queries
from worker.erasure.progress import Erasure, add_counts, columns
from worker.erasure.stored_changes import changes_since
from worker.store.customer_rows import change_customers
from worker.validation.events import EventTypes

_sql = Queries("worker.erasure", "erasure.sql")


class Found(NamedTuple):
    """A row to be deleted: for which erasure, and its primary key."""

    erasure_id: UUID
    tenant_id: int
    received_at: datetime
    id: UUID


def find_signals(connection: Connection, group: Sequence[Erasure], most: int) -> list[Found]:
    """Up to `most` signals of the group."""
    found = connection.execute(_sql.find_signals, columns(group) | {"most": most})
    return [Found(*row) for row in found]


def find_events(
    connection: Connection, group: Sequence[Erasure], most: int
) -> tuple[list[Found], tuple[datetime, UUID] | None]:
    """The group's among the next `most` events of the log, and the place where that ends; None at its end."""
    place = {"walked_at": group[0].walked_at, "walked_key": group[0].walked_key, "most": most}
    rows = connection.execute(_sql.find_events, columns(group) | place).fetchall()
    return [Found(*row[:4]) for row in rows if row[0]], (rows[0][4:] if rows else None)


def delete(connection: Connection, statement: LiteralString, kind: str, found: Sequence[Found]) -> None:
    """Delete these rows and count them as `kind`, within the caller's transaction."""
    if not found:
        return
    # One by one, in one round trip: a plan for all of them might read whole partitions.
    connection.cursor().executemany(statement, [row._asdict() for row in found])
    for (erasure_id, tenant_id), rows in Counter((row.erasure_id, row.tenant_id) for row in found).items():
        add_counts(connection, erasure_id, tenant_id, {kind: rows})


def delete_signals(connection: Connection, found: Sequence[Found]) -> None:
    """`delete` signals."""
    delete(connection, _sql.delete_signal, "signals", found)


def delete_events(connection: Connection, found: Sequence[Found]) -> None:
    """`delete` events."""
    delete(connection, _sql.delete_event, "events", found)


def erase_customer(connection: Connection, erasure: Erasure, types: EventTypes) -> None:
    """Delete the customer's row and refusals, within the caller's transaction, and count them.

    The row is made anew of what came after the erasure was asked for. While it is held, batches with events of this
    customer wait: each event counts once, here or there.
    """
    cursor = connection.cursor()
    # In the order in which batches take them.
    rejected = cursor.execute(_sql.delete_rejected, erasure.customer).rowcount
    known = cursor.execute(_sql.lock_customer, erasure.customer).fetchone()
    left = None
    if known:
        changes = changes_since(connection, erasure, types)
        cursor.execute(_sql.delete_customer, erasure.customer)
        if changes:
            change_customers(cursor, changes)
            left = cursor.execute(_sql.lock_customer, erasure.customer).fetchone()
    # Whose row is the same without what came before was not there before, or is erased already.
    counts = {"customers": int(known != left), "rejected_events": rejected}
    add_counts(connection, erasure.erasure_id, erasure.tenant_id, counts)
