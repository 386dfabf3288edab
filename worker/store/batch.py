"""Writes a batch into PostgreSQL: identities, events, signals, customers, refusals and outbox, all or nothing."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, LiteralString

from psycopg import Cursor
from psycopg_pool import ConnectionPool

from common.database.connections import translated_errors
from common.database.queries import Queries
from common.envelope import signal_id_bytes
from common.tracing.tracing import NO_TRACING, Tracing
from worker.domains.domain import Event
from worker.store.arrays import instants, integers, texts, uuids
from worker.store.candidates import Candidates
from worker.store.copy_rows import EVENT_COLUMN_TYPES, SIGNAL_COLUMN_TYPES, event_row, signal_rows
from worker.store.customer_rows import change_customers
from worker.store.tombstones import Reason, begin_batch, tombstones_of
from worker.validation.events import TenantType, ValidEvent, same_content
from worker.validation.refusals import RefusedEvent, refusal_rows

_sql = Queries("worker.store", "batch.sql")


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What became of a batch: the events that were new, and how many were known already.

    `conflicts` are those of the known ones that came with other content than the event stored first. `dropped` says how
    many were not stored, for which reason, as their customers were erased or are suppressed.
    """

    batch_id: int
    new: Sequence[ValidEvent]
    duplicates: int
    conflicts: Sequence[Event]
    dropped: Counter[Reason]


class Store:
    """The PostgreSQL side of the ingest stage."""

    def __init__(self, pool: ConnectionPool, tracing: Tracing = NO_TRACING) -> None:
        self._pool = pool
        self._tracing = tracing

    def write(self, candidates: Candidates, refused: Sequence[RefusedEvent]) -> StoredBatch:
        """Store a batch in one transaction.

        An event whose (tenant, event_id) is stored already, or came earlier in the batch, changes nothing. The
        same batch again, at once in another worker or much later, changes nothing either. Of customers that are
        erased or suppressed nothing is stored; the identities of their events are taken all the same.

        Raises:
            DatabaseUnavailableError: nothing was stored; try again.
            psycopg.Error: the content cannot be stored; nothing was.
        """
        with translated_errors(), self._pool.connection() as connection, connection.cursor() as cursor:
            batch_id, tombstones = begin_batch(cursor, candidates, refused)
            known = self._claim_identities(cursor, candidates)
            conflicts = self._conflicts(cursor, candidates, known)
            unknown = {key: valid for key, valid in candidates.first.items() if key not in known}
            dropped = tombstones.dropped(unknown)
            new = [valid for key, valid in unknown.items() if key not in dropped]
            refused, dropped_refusals = tombstones.kept(refused)
            if new:
                event_rows = (event_row(batch_id, event) for event in new)
                _copy(cursor, _sql.copy_events, EVENT_COLUMN_TYPES, event_rows)
                _copy(cursor, _sql.copy_signals, SIGNAL_COLUMN_TYPES, signal_rows(new))
                self._fill_outbox(cursor, batch_id, new)
                _count_usage(cursor, batch_id, new)
            if refused:
                cursor.execute(_sql.upsert_rejected_events, refusal_rows(refused))
            # Last, as other batches wait for the customers that they share with this one until it commits.
            if new:
                change_customers(cursor, candidates.customer_changes(known.keys() | dropped.keys()))
        return StoredBatch(
            batch_id,
            new,
            len(known) + len(candidates.repeated),
            conflicts,
            Counter(dropped.values()) + dropped_refusals,
        )

    def without_dropped(
        self, refused: Sequence[RefusedEvent]
    ) -> tuple[Sequence[RefusedEvent], Counter[Reason]]:
        """Those of `refused` that may be kept as such or withheld, and how many may not for which reason.

        Raises:
            DatabaseUnavailableError: try again.
        """
        if not refused:
            return refused, Counter()
        with translated_errors(), self._pool.connection() as connection, connection.cursor() as cursor:
            return tombstones_of(cursor, refused).kept(refused)

    def tenant_types(self, known: Sequence[TenantType] = ()) -> list[TenantType]:
        """All versions of event types that tenants registered for themselves, but the retired ones.

        What is among `known` is not read again: a version never changes.
        """
        by_key = {row[:3]: row for row in known}
        keys = {
            "tenant_ids": integers([row.tenant_id for row in known]),
            "event_types": texts([row.event_type for row in known]),
            "versions": integers([row.version for row in known]),
        }
        with translated_errors(), self._pool.connection() as connection:
            rows = connection.execute(_sql.select_tenant_event_types, keys).fetchall()
        return [by_key[row[:3]] if row[:3] in by_key else TenantType(*row) for row in rows]

    def _claim_identities(self, cursor: Cursor[Any], candidates: Candidates) -> dict[bytes, ValidEvent]:
        """Those of `candidates` that are stored already, by identity; the identities of all others are taken."""
        if not candidates.first:
            return {}
        first = candidates.first.values()
        cursor.execute(
            _sql.insert_event_keys,
            {
                "event_keys": uuids(candidates.first),
                "tenant_ids": integers([valid.event.tenant_id for valid in first]),
                "received_ats": instants([valid.event.received_at for valid in first]),
            },
        )
        inserted = {key for (key,) in cursor.fetchall()}
        return {key: valid for key, valid in candidates.first.items() if key not in inserted}

    def _conflicts(
        self, cursor: Cursor[Any], candidates: Candidates, known: Collection[bytes]
    ) -> list[Event]:
        """The events that came with other content than the one stored first, or the first of this batch."""
        stored: dict[bytes, str] = {}
        if known:
            looked_up = [candidates.first[key].event for key in known]
            cursor.execute(
                _sql.select_raw_events,
                {
                    "event_keys": uuids(known),
                    "tenant_ids": integers([event.tenant_id for event in looked_up]),
                },
            )
            stored = dict(cursor.fetchall())
        # An event whose partition was dropped has nothing left to differ from.
        pairs = [(candidates.first[key], stored[key].encode()) for key in known if key in stored]
        pairs += candidates.repeated
        return [valid.event for valid, raw in pairs if not same_content(raw, valid.raw)]

    def _fill_outbox(self, cursor: Cursor[Any], batch_id: int, new: Sequence[ValidEvent]) -> None:
        by_tenant: dict[int, list[ValidEvent]] = {}
        for valid in new:
            if valid.projection.signals:
                by_tenant.setdefault(valid.event.tenant_id, []).append(valid)
        for tenant_id, events in by_tenant.items():
            received = [valid.event.received_at for valid in events]
            cursor.execute(
                _sql.insert_outbox,
                {
                    "batch_id": batch_id,
                    "tenant_id": tenant_id,
                    "signal_ids": uuids(
                        signal_id_bytes(valid.event.event_key, number)
                        for valid in events
                        for number in range(len(valid.projection.signals))
                    ),
                    "received_from": min(received),
                    "received_until": max(received),
                    "trace_context": self._tracing.current_context(),
                },
            )


def _count_usage(cursor: Cursor[Any], batch_id: int, new: Sequence[ValidEvent]) -> None:
    """Add what is new to the usage of its tenants, by the month of its arrival."""
    events = [valid.event for valid in new]
    counts = Counter((each.tenant_id, each.received_at.year, each.received_at.month) for each in events)
    cursor.execute(
        _sql.insert_usage_parts,
        {
            "batch_id": batch_id,
            "tenant_ids": integers([tenant_id for tenant_id, _, _ in counts]),
            "months": [date(year, month, 1) for _, year, month in counts],
            "events": integers(list(counts.values())),
        },
    )


def _copy(
    cursor: Cursor[Any], statement: LiteralString, types: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    with cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
