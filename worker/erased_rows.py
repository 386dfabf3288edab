"""What PostgreSQL holds of customers that are erased: found, deleted, counted."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import structlog
from psycopg import Cursor
from psycopg.types.json import Jsonb

from common.database.ddl import Connection
from common.database.queries import Queries
from common.errors import InvalidEventError
from common.queue.streams import Record
from worker.customer_rows import change_customers
from worker.customers import customer_changes
from worker.domains.domain import Event, Projection
from worker.validation import EventTypes, validate

_READ_ROWS = 500
_MOST_NESTING = 64  # what was stored passed the limit of its time

_sql = Queries("worker", "erasure.sql")
log = structlog.get_logger(__name__)


class Erasure(NamedTuple):
    """A customer that is being erased, and how far that is; columns as in the table `erasures`."""

    erasure_id: UUID
    tenant_id: int
    customer_id: str
    erased_at: datetime
    state: str
    queue_time: int | None
    walked_at: datetime | None
    walked_key: UUID | None

    @property
    def customer(self) -> dict[str, object]:
        """Whom it is about, as parameters of a statement."""
        return {
            "tenant_id": self.tenant_id,
            "customer_id": self.customer_id,
            "erased_at": self.erased_at,
        }


class Found(NamedTuple):
    """A row to be deleted: for which erasure, and its primary key."""

    erasure_id: UUID
    tenant_id: int
    received_at: datetime
    id: UUID


def columns(group: Sequence[Erasure]) -> dict[str, object]:
    """The customers of a group, as parameters of the statements that look for them."""
    return {
        "erasure_ids": [each.erasure_id for each in group],
        "tenant_ids": [each.tenant_id for each in group],
        "customer_ids": [each.customer_id for each in group],
        "erased_ats": [each.erased_at for each in group],
    }


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
    """Delete the customer's row and refusals, and make the row anew of what came after the erasure was asked for.

    While it holds the row, batches with events of this customer wait: each event counts once, here or there.
    """
    with connection.transaction(), connection.cursor() as cursor:
        customers = cursor.execute(_sql.lock_customer, erasure.customer).rowcount
        if customers:
            changes = customer_changes(_later_events(connection, erasure, types))
            cursor.execute(_sql.delete_customer, erasure.customer)
            if changes:
                change_customers(cursor, changes)
        rejected = cursor.execute(_sql.delete_rejected, erasure.customer).rowcount
        add_counts(
            connection,
            erasure.erasure_id,
            erasure.tenant_id,
            {"customers": customers, "rejected_events": rejected},
        )


def add_counts(connection: Connection, erasure_id: UUID, tenant_id: int, counts: Mapping[str, int]) -> None:
    """Add to what the receipt of an erasure says was erased."""
    connection.execute(
        _sql.add_counts,
        {"erasure_id": erasure_id, "tenant_id": tenant_id, "counts": Jsonb(dict(counts))},
    )


def _later_events(
    connection: Connection, erasure: Erasure, types: EventTypes
) -> Iterator[tuple[Event, Projection]]:
    cursor: Cursor[Any]
    with connection.cursor("later_events") as cursor:
        cursor.itersize = _READ_ROWS
        for event_id, received_at, raw in cursor.execute(_sql.list_later_events, erasure.customer):
            record = Record(event_id, received_at, raw.encode())
            try:
                valid = validate(erasure.tenant_id, record, types, max_nesting=_MOST_NESTING)
            except InvalidEventError as error:
                log.error("stored_event_is_invalid", tenant_id=erasure.tenant_id, code=error.code)  # noqa: TRY400
            else:
                yield valid.event, valid.projection
