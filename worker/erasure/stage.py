"""The erasure of customers: a drain over the table `erasures`, in steps of which each may be repeated.

The tombstone was committed together with the request. First all transactions end that may not have seen it; from then
on nothing of the customer that was received before is stored, whatever brings it. So what is deleted after that stays
deleted. The whole argument is in docs/adr/0011-erasure.md.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from uuid import UUID

import structlog

from common.clock import rfc3339
from common.customers import customer_of
from common.database.connections import translated_errors
from common.database.ddl import Connection, autocommit
from common.database.transactions import session_lock
from common.errors import TransientError
from common.queue.streams import Record
from common.queue.tenant_entries import TenantEntries
from common.queue.withheld_records import WithheldRecords
from common.redis import translated_errors as translated_redis_errors
from common.search.removal import remove_documents
from common.services import Services
from worker.erasure.progress import (
    Erasure,
    add_counts,
    count_due,
    finish,
    next_group,
    put_off,
    set_state,
    settled,
)
from worker.erasure.rows import delete_events, delete_signals, erase_customer, find_events, find_signals
from worker.validation.events import EventTypes

# A constant of our own among the database's advisory locks.
_ERASURE_LOCK = 0x53535050_0006

_GROUP = 500  # so many customers share a walk through the log
_SIGNALS = 2_000
_PAGE_EVENTS = 20_000
_STEP_SECONDS = 5.0
_WAIT_SECONDS = 1.0
_RETRY_SECONDS = 10.0
_LAST_KEY = UUID(int=2**128 - 1)

log = structlog.get_logger(__name__)

_Ready = Callable[[Connection, Sequence[Erasure]], list[Erasure]]
_Key = Callable[[Erasure], object]
_Erase = Callable[[Connection, Sequence[Erasure]], None]


class ErasureStage:
    """Erases customers, those that are equally far together; one stage at a time, whoever runs it."""

    queue = "maintenance"

    def __init__(self, services: Services, *, types: EventTypes) -> None:
        self._services = services
        self._types = types
        self._withheld = WithheldRecords(services.redis)
        self._queued = TenantEntries(services.redis)
        # What is done for a group as one, and what for parts of it one after the other, once these are ready.
        self._shared: Mapping[str, _Erase] = {
            "signals": self._erase_signals,
            "events": self._erase_events,
        }
        self._in_parts: Mapping[str, tuple[_Ready, _Key, _Erase]] = {
            "requested": (self._settled, _by_itself, self._erase_customer),
            "documents": (self._settled, _by_tenant, self._erase_documents),
            "withheld": (self._passed, _by_itself, self._erase_withheld),
        }

    def step(self, wait_seconds: float) -> int:
        """Do one step for the group that is due first; see `common.drain.Stage`."""
        with translated_errors(), self._services.pool.connection() as connection, autocommit(connection):
            handled = self._advance(connection)
        if not handled:
            time.sleep(wait_seconds)
        return handled

    def rescue(self, live: set[str]) -> int:  # noqa: ARG002 - part of the stage protocol
        """Return 0: the lock of a dead stage is gone with its connection, there is nothing to take over."""
        return 0

    def backlog(self) -> int:
        """How many erasures are due.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away or busy.
        """
        with translated_errors(), self._services.pool.connection() as connection:
            return count_due(connection)

    def finish(self) -> int:
        """Return 0: nothing is taken between two steps."""
        return 0

    def close(self) -> None:
        """Do nothing: what a step began, the next drain goes on with."""

    def _advance(self, connection: Connection) -> int:
        with session_lock(connection, _ERASURE_LOCK) as alone:
            group = next_group(connection, _GROUP) if alone else []
            if not group:
                return 0
            if shared := self._shared.get(group[0].state):
                with _put_off_if_it_fails(connection, group):
                    shared(connection, group)
            else:
                self._advance_in_parts(connection, group)
            return len(group)

    def _advance_in_parts(self, connection: Connection, group: Sequence[Erasure]) -> None:
        find_ready, key, erase = self._in_parts[group[0].state]
        until = time.monotonic() + _STEP_SECONDS
        with _put_off_if_it_fails(connection, group):
            ready = find_ready(connection, group)
        parts: dict[object, list[Erasure]] = {}
        for erasure in ready:
            parts.setdefault(key(erasure), []).append(erasure)
        for part in parts.values():
            with _put_off_if_it_fails(connection, group, alone=part):
                erase(connection, part)
            if time.monotonic() > until:
                break

    def _settled(self, connection: Connection, group: Sequence[Erasure]) -> list[Erasure]:
        """Those for whom every batch sees the tombstones, or nobody writes documents of signals that are gone."""
        return settled(connection, group, wait_seconds=_WAIT_SECONDS)

    def _erase_customer(self, connection: Connection, part: Sequence[Erasure]) -> None:
        """Erase the customer's row and refusals: first, as it takes what came later to make the row anew."""
        (erasure,) = part
        # What is in the lanes by now is stored, refused or withheld by those who see the tombstone.
        queue_time = self._queue_time()
        with connection.transaction():
            erase_customer(connection, erasure, self._types)
            set_state(connection, [erasure], "signals", queue_time=queue_time)

    def _erase_signals(self, connection: Connection, group: Sequence[Erasure]) -> None:
        """Erase some signals, which an index finds."""
        with connection.transaction():
            found = find_signals(connection, group, _SIGNALS)
            delete_signals(connection, found)
            if len(found) < _SIGNALS:
                newest = max(erasure.erased_at for erasure in group)
                set_state(connection, group, "events", walked_at=newest, walked_key=_LAST_KEY)

    def _erase_events(self, connection: Connection, group: Sequence[Erasure]) -> None:
        """Look through a page of the log."""
        with connection.transaction():
            found, place = find_events(connection, group, _PAGE_EVENTS)
            delete_events(connection, found)
            if place is None:
                set_state(connection, group, "documents")
            else:
                walked_at, walked_key = place
                set_state(connection, group, "events", walked_at=walked_at, walked_key=walked_key)

    def _erase_documents(self, connection: Connection, part: Sequence[Erasure]) -> None:
        """Erase the documents of a tenant's customers, which are looked for together: search may be slow."""
        # It finds what came after an erasure as well. That stays: PostgreSQL has its signals.
        removed = remove_documents(
            connection,
            self._services.search,
            part[0].tenant_id,
            [
                {"terms": {"customer_id": sorted({erasure.customer_id for erasure in part})}},
                {"range": {"received_at": {"lte": rfc3339(max(erasure.erased_at for erasure in part))}}},
            ],
        )
        with connection.transaction():
            for erasure in part:
                # Of several erasures of one customer the first one counts all that is left.
                counts = {"documents": removed.pop(erasure.customer_id, 0)}
                add_counts(connection, erasure.erasure_id, erasure.tenant_id, counts)
            set_state(connection, part, "withheld")

    def _passed(self, connection: Connection, group: Sequence[Erasure]) -> list[Erasure]:
        """Those of whom nobody withholds any more: of their tenants' entries, all of before have been taken."""
        # One look for all of a tenant's customers; only its own entries count, not those that share its lane.
        newest: dict[int, int] = {}
        for erasure in group:
            newest[erasure.tenant_id] = max(newest.get(erasure.tenant_id, 0), erasure.queue_time or 0)
        none_before = {
            tenant_id: self._queued.none_before(tenant_id, queue_time, seconds=_STEP_SECONDS / len(newest))
            for tenant_id, queue_time in newest.items()
        }
        if waiting := [each for each in group if none_before[each.tenant_id] <= (each.queue_time or 0)]:
            put_off(connection, waiting, _WAIT_SECONDS)
        return [each for each in group if none_before[each.tenant_id] > (each.queue_time or 0)]

    def _erase_withheld(self, connection: Connection, part: Sequence[Erasure]) -> None:
        """Erase what is withheld: the last step."""
        (erasure,) = part
        counts = {"withheld_events": self._withheld.remove(erasure.tenant_id, _is_of(erasure))}
        with connection.transaction():
            add_counts(connection, erasure.erasure_id, erasure.tenant_id, counts)
            finish(connection, erasure)
        log.info("customer_erased", tenant_id=erasure.tenant_id, erasure_id=str(erasure.erasure_id))

    def _queue_time(self) -> int:
        """Redis's clock, in milliseconds, as the ids of queued entries have it."""
        with translated_redis_errors():
            seconds, microseconds = self._services.redis.time()
        return seconds * 1000 + microseconds // 1000


@contextmanager
def _put_off_if_it_fails(
    connection: Connection, group: Sequence[Erasure], *, alone: Sequence[Erasure] = ()
) -> Iterator[None]:
    """What fails with a part of the group puts off this `alone`; a store that is away fails all of them."""
    try:
        yield
    except Exception as error:
        # Others go first, so that an outage of search keeps nobody's rows in PostgreSQL.
        late = alone if alone and not isinstance(error, TransientError) else group
        with suppress(Exception):
            put_off(connection, late, _RETRY_SECONDS)
        raise


def _by_itself(erasure: Erasure) -> object:
    return erasure.erasure_id


def _by_tenant(erasure: Erasure) -> object:
    return erasure.tenant_id


def _is_of(erasure: Erasure) -> Callable[[Record], bool]:
    """Whether a record is the customer's, of before the erasure."""

    def is_erased(record: Record) -> bool:
        return record.received_at <= erasure.erased_at and customer_of(record.raw) == erasure.customer_id

    return is_erased
