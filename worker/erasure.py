"""The erasure of customers: a drain over the table `erasures`, in steps of which each may be repeated.

The tombstone was committed together with the request. First all transactions end that may not have seen it; from then
on nothing of the customer that was received before is stored, whatever brings it. So what is deleted after that stays
deleted. The whole argument is in docs/adr/0011-erasure.md.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog
from psycopg.rows import class_row

from common.clock import rfc3339
from common.customers import customer_of
from common.database.connections import translated_errors
from common.database.ddl import Connection, autocommit
from common.database.queries import Queries
from common.database.transactions import RunningTransactions, session_lock
from common.queue.streams import Record
from common.queue.tenant_entries import TenantEntries
from common.queue.withheld_records import WithheldRecords
from common.redis import translated_errors as translated_redis_errors
from common.search.removal import remove_documents
from common.services import Services
from worker.erased_rows import (
    Erasure,
    add_counts,
    columns,
    delete_events,
    delete_signals,
    erase_customer,
    find_events,
    find_signals,
)
from worker.store import Store
from worker.validation import EventTypes

# A constant of our own among the database's advisory locks.
_ERASURE_LOCK = 0x53535050_0006

_GROUP = 500  # so many customers share a walk through the log
_SIGNALS = 2_000
_PAGE_EVENTS = 20_000
_STEP_SECONDS = 5.0
_WAIT_SECONDS = 1.0
_RETRY_SECONDS = 10.0
_LAST_KEY = UUID(int=2**128 - 1)

_sql = Queries("worker", "erasure.sql")
log = structlog.get_logger(__name__)


class ErasureStage:
    """Erases customers, those that are equally far together; one stage at a time, whoever runs it."""

    queue = "maintenance"

    def __init__(self, services: Services, *, store: Store, types: EventTypes) -> None:
        self._services = services
        self._store = store
        self._types = types
        self._withheld = WithheldRecords(services.redis)
        self._queued = TenantEntries(services.redis)
        self._awaited: dict[tuple[str, UUID], RunningTransactions] = {}
        self._steps: Mapping[str, Callable[[Connection, Sequence[Erasure]], None]] = {
            "requested": self._erase_customers,
            "signals": self._erase_signals,
            "events": self._erase_events,
            "documents": self._erase_documents,
            "withheld": self._erase_withheld,
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
            row = connection.execute(_sql.count_due).fetchone()
            return int(row[0]) if row else 0

    def finish(self) -> int:
        """Return 0: nothing is taken between two steps."""
        return 0

    def close(self) -> None:
        """Do nothing: what a step began, the next drain goes on with."""

    def _advance(self, connection: Connection) -> int:
        with session_lock(connection, _ERASURE_LOCK) as alone:
            if not alone:
                return 0
            with connection.cursor(row_factory=class_row(Erasure)) as cursor:
                group = cursor.execute(_sql.next_group, {"most": _GROUP}).fetchall()
            if group:
                try:
                    self._steps[group[0].state](connection, group)
                except Exception:
                    # Others go first, so that an outage of search keeps nobody's rows in PostgreSQL.
                    with suppress(Exception):
                        self._put_off(connection, group, _RETRY_SECONDS)
                    raise
            return len(group)

    def _erase_customers(self, connection: Connection, group: Sequence[Erasure]) -> None:
        """Wait until every batch sees the tombstones; then erase the customers and their refusals."""
        # What is in the lanes by then is stored, refused or withheld by those who see them.
        queue_time = self._queue_time()
        settled = self._settled(connection, group)
        if not settled:
            return
        self._types.replace_tenant_types(self._store.tenant_types())
        for erasure in settled:
            erase_customer(connection, erasure, self._types)
        self._set_state(connection, settled, "signals", queue_time=queue_time)

    def _erase_signals(self, connection: Connection, group: Sequence[Erasure]) -> None:
        """Erase some signals, which an index finds."""
        with connection.transaction():
            found = find_signals(connection, group, _SIGNALS)
            delete_signals(connection, found)
            if len(found) < _SIGNALS:
                newest = max(erasure.erased_at for erasure in group)
                self._set_state(connection, group, "events", walked_at=newest, walked_key=_LAST_KEY)

    def _erase_events(self, connection: Connection, group: Sequence[Erasure]) -> None:
        """Look through a page of the log."""
        with connection.transaction():
            found, place = find_events(connection, group, _PAGE_EVENTS)
            delete_events(connection, found)
            if place is None:
                self._set_state(connection, group, "documents")
            else:
                walked_at, walked_key = place
                self._set_state(connection, group, "events", walked_at=walked_at, walked_key=walked_key)

    def _erase_documents(self, connection: Connection, group: Sequence[Erasure]) -> None:
        """Wait until nobody writes documents of signals that are gone; then erase these."""
        until = time.monotonic() + _STEP_SECONDS
        for erasure in self._settled(connection, group):
            removed = remove_documents(
                connection,
                self._services.search,
                erasure.tenant_id,
                [
                    {"term": {"customer_id": erasure.customer_id}},
                    {"range": {"received_at": {"lte": rfc3339(erasure.erased_at)}}},
                ],
            )
            with connection.transaction():
                add_counts(connection, erasure.erasure_id, erasure.tenant_id, {"documents": removed})
                self._set_state(connection, [erasure], "withheld")
            if time.monotonic() > until:
                break

    def _erase_withheld(self, connection: Connection, group: Sequence[Erasure]) -> None:
        """Erase what is withheld, once nobody withholds any more of it: the last step."""
        # One look for all of a tenant's customers; only its own entries count, not those that share its lane.
        newest: dict[int, int] = {}
        for erasure in group:
            newest[erasure.tenant_id] = max(newest.get(erasure.tenant_id, 0), erasure.queue_time or 0)
        until = time.monotonic() + _STEP_SECONDS
        none_before = {
            tenant_id: self._queued.none_before(tenant_id, queue_time, seconds=_STEP_SECONDS / len(newest))
            for tenant_id, queue_time in newest.items()
        }
        ready = [each for each in group if none_before[each.tenant_id] > (each.queue_time or 0)]
        if waiting := [each for each in group if none_before[each.tenant_id] <= (each.queue_time or 0)]:
            self._put_off(connection, waiting, _WAIT_SECONDS)
        for erasure in ready:
            counts = {"withheld_events": self._withheld.remove(erasure.tenant_id, _is_of(erasure))}
            with connection.transaction():
                add_counts(connection, erasure.erasure_id, erasure.tenant_id, counts)
                connection.execute(_sql.finish, erasure.customer | {"erasure_id": erasure.erasure_id})
            log.info("customer_erased", tenant_id=erasure.tenant_id, erasure_id=str(erasure.erasure_id))
            if time.monotonic() > until:
                break

    def _settled(self, connection: Connection, group: Sequence[Erasure]) -> list[Erasure]:
        """Those of the group since whose first look in their state all transactions have ended that ran then.

        The others are put off, to the end of the line.
        """
        running = RunningTransactions(connection)
        awaited = {
            erasure: self._awaited.setdefault((erasure.state, erasure.erasure_id), running)
            for erasure in group
        }
        running.have_ended(connection, wait_seconds=_WAIT_SECONDS)
        settled = [each for each, then in awaited.items() if then.have_ended(connection, wait_seconds=0)]
        for erasure in settled:
            del self._awaited[erasure.state, erasure.erasure_id]
        if late := [each for each in group if each not in settled]:
            self._put_off(connection, late, 0)
        return settled

    def _set_state(
        self, connection: Connection, group: Sequence[Erasure], state: str, **progress: Any
    ) -> None:
        nothing = {"queue_time": None, "walked_at": None, "walked_key": None}
        connection.execute(_sql.advance, columns(group) | nothing | progress | {"state": state})

    def _put_off(self, connection: Connection, group: Sequence[Erasure], seconds: float) -> None:
        connection.execute(_sql.put_off, columns(group) | {"seconds": seconds})

    def _queue_time(self) -> int:
        """Redis's clock, in milliseconds, as the ids of queued entries have it."""
        with translated_redis_errors():
            seconds, microseconds = self._services.redis.time()
        return seconds * 1000 + microseconds // 1000


def _is_of(erasure: Erasure) -> Callable[[Record], bool]:
    """Whether a record is the customer's, of before the erasure."""

    def is_erased(record: Record) -> bool:
        return record.received_at <= erasure.erased_at and customer_of(record.raw) == erasure.customer_id

    return is_erased
