"""The table `erasures`: which customers are to be erased, how far that is with each, and what was erased."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from common.database.ddl import Connection
from common.database.queries import Queries
from common.database.transactions import RunningTransactions

_sql = Queries("worker.erasure", "progress.sql")


class Erasure(NamedTuple):
    """A customer that is being erased, and how far that is; columns as in the table `erasures`."""

    erasure_id: UUID
    tenant_id: int
    customer_id: str
    customer_hash: bytes
    erased_at: datetime
    state: str
    awaited: int | None
    queue_time: int | None
    walked_at: datetime | None
    walked_key: UUID | None

    @property
    def customer(self) -> dict[str, object]:
        """Whom it is about, as parameters of a statement."""
        return {
            "tenant_id": self.tenant_id,
            "customer_id": self.customer_id,
            "customer_hash": self.customer_hash,
            "erased_at": self.erased_at,
        }


def columns(group: Sequence[Erasure]) -> dict[str, object]:
    """The customers of a group, as parameters of the statements that look for them.

    Of several erasures of one customer, each is about what came after the one before it: what all of them are to delete
    counts once.
    """
    latest: dict[tuple[int, str], datetime] = {}
    erased_after: dict[UUID, datetime | None] = {}
    for each in sorted(group, key=lambda each: each.erased_at):
        customer = (each.tenant_id, each.customer_id)
        erased_after[each.erasure_id] = latest.get(customer)
        latest[customer] = each.erased_at
    return {
        "erasure_ids": [each.erasure_id for each in group],
        "tenant_ids": [each.tenant_id for each in group],
        "customer_ids": [each.customer_id for each in group],
        "erased_afters": [erased_after[each.erasure_id] for each in group],
        "erased_ats": [each.erased_at for each in group],
    }


def next_group(connection: Connection, most: int) -> list[Erasure]:
    """Up to `most` of those that are as far as the one that is due first, that one first; none if none is due."""
    with connection.cursor(row_factory=class_row(Erasure)) as cursor:
        return cursor.execute(_sql.next_group, {"most": most}).fetchall()


def count_due(connection: Connection) -> int:
    """How many erasures are due, of all tenants."""
    row = connection.execute(_sql.count_due).fetchone()
    return int(row[0]) if row else 0


def set_state(connection: Connection, group: Sequence[Erasure], state: str, **progress: Any) -> None:
    """What they are to do next, and how far they are with it: ``queue_time``, ``walked_at``, ``walked_key``."""
    nothing = {"queue_time": None, "walked_at": None, "walked_key": None}
    connection.execute(_sql.advance, columns(group) | nothing | progress | {"state": state})


def put_off(connection: Connection, group: Sequence[Erasure], seconds: float) -> None:
    """Make them due in so many seconds: behind all that are due now."""
    connection.execute(_sql.put_off, columns(group) | {"seconds": seconds})


def settled(connection: Connection, group: Sequence[Erasure], *, wait_seconds: float) -> list[Erasure]:
    """Those of the group since whose first look in their state all transactions have ended that ran then.

    What is waited for stays the same over drains and crashes, so that long transactions one after the other delay
    nothing. The others are put off, to the end of the line.

    Args:
        connection: in autocommit mode.
        group: from `next_group`.
        wait_seconds: waits that long for a first one, unless another erasure can go on meanwhile.
    """
    awaited = {
        number: RunningTransactions(connection, number=number) for number in {each.awaited for each in group}
    }
    for number, running in awaited.items():
        if running.number != number:
            new = [each for each in group if each.awaited == number]
            connection.execute(_sql.note_awaited, columns(new) | {"number": running.number})
    first = min(awaited.values(), key=lambda running: running.number)
    others = connection.execute(_sql.find_one_that_need_not_wait).fetchone()
    first.have_ended(connection, wait_seconds=0 if others else wait_seconds)
    ended = {number for number, running in awaited.items() if running.have_ended(connection, wait_seconds=0)}
    if late := [each for each in group if each.awaited not in ended]:
        put_off(connection, late, 0)
    return [each for each in group if each.awaited in ended]


def add_counts(connection: Connection, erasure_id: UUID, tenant_id: int, counts: Mapping[str, int]) -> None:
    """Add to what the receipt of an erasure says was erased."""
    connection.execute(
        _sql.add_counts,
        {"erasure_id": erasure_id, "tenant_id": tenant_id, "counts": Jsonb(dict(counts))},
    )


def finish(connection: Connection, erasure: Erasure) -> None:
    """Nothing is left to do: the erasure is its receipt, and forgets whom it was about."""
    connection.execute(_sql.finish, erasure.customer | {"erasure_id": erasure.erasure_id})
