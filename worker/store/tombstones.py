"""What is not to be stored: events of customers that were erased since, or that are suppressed."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from psycopg import Cursor

from common.customers import customer_hash, customer_of
from common.database.queries import Queries
from worker.store.arrays import byteas, integers
from worker.store.candidates import Candidates
from worker.validation.events import ValidEvent
from worker.validation.refusals import RefusedEvent

Reason = Literal["erased", "suppressed"]

_sql = Queries("worker.store", "tombstones.sql")


class Tombstone(NamedTuple):
    """From when until when nothing of a customer is stored, by received_at: up to the one, and since the other."""

    erased_at: datetime | None
    suppressed_at: datetime | None


class Tombstones:
    """Those of some customers, by tenant and customer id."""

    def __init__(self, found: Mapping[tuple[int, str], Tombstone]) -> None:
        self._found = found

    def dropped(self, events: Mapping[bytes, ValidEvent]) -> dict[bytes, Reason]:
        """Which of `events`, by identity, must not be stored."""
        if not self._found:
            return {}
        reasons = {
            key: self._reason(valid.customer, valid.event.received_at) for key, valid in events.items()
        }
        return {key: reason for key, reason in reasons.items() if reason}

    def kept(self, refused: Sequence[RefusedEvent]) -> tuple[Sequence[RefusedEvent], Counter[Reason]]:
        """Those of `refused` that may be stored as such, and how many may not for which reason."""
        kept, dropped = [], Counter[Reason]()
        for one in refused:
            reason = self._reason(_customer(one), one.record.received_at) if self._found else None
            if reason:
                dropped[reason] += 1
            else:
                kept.append(one)
        return kept, dropped

    def _reason(self, customer: tuple[int, str], received_at: datetime) -> Reason | None:
        tombstone = self._found.get(customer)
        if tombstone is None:
            return None
        if tombstone.erased_at is not None and received_at <= tombstone.erased_at:
            return "erased"
        if tombstone.suppressed_at is not None and received_at >= tombstone.suppressed_at:
            return "suppressed"
        return None


def begin_batch(
    cursor: Cursor[Any], candidates: Candidates, refused: Sequence[RefusedEvent]
) -> tuple[int, Tombstones]:
    """Begin a transaction that stores: the batch's number, and the tombstones of its customers.

    It has a transaction number before it looks, so that an erasure can tell when all have ended that may have looked
    before its tombstone was there. Costs nothing more for tenants without any.
    """
    first = candidates.first.values()
    tenants = {valid.event.tenant_id for valid in first} | {one.tenant_id for one in refused}
    row = cursor.execute(_sql.begin_batch, {"tenant_ids": integers(tenants)}).fetchone()
    assert row is not None
    batch_id, marked = row
    customers = {valid.customer for valid in first if valid.event.tenant_id in marked} if marked else set()
    customers.update(_customer(one) for one in refused if one.tenant_id in marked)
    return int(batch_id), read_tombstones(cursor, customers)


def tombstones_of(cursor: Cursor[Any], refused: Iterable[RefusedEvent]) -> Tombstones:
    """The tombstones of the customers that refused events name, as of now."""
    return read_tombstones(cursor, {_customer(one) for one in refused})


def read_tombstones(cursor: Cursor[Any], customers: Collection[tuple[int, str]]) -> Tombstones:
    """The tombstones of `customers`, by tenant and customer id, as of now."""
    if not customers:
        return Tombstones({})
    hashes = {(tenant_id, customer_hash(tenant_id, name)): (tenant_id, name) for tenant_id, name in customers}
    cursor.execute(
        _sql.select_tombstones,
        {
            "tenant_ids": integers([tenant_id for tenant_id, _ in hashes]),
            "customer_hashes": byteas([each for _, each in hashes]),
        },
    )
    return Tombstones(
        {
            hashes[tenant_id, digest]: Tombstone(erased_at, suppressed_at)
            for tenant_id, digest, erased_at, suppressed_at in cursor
        }
    )


def _customer(one: RefusedEvent) -> tuple[int, str]:
    return one.tenant_id, customer_of(one.record.raw) or ""
