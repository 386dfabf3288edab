"""Writes a batch into PostgreSQL: identities, events, signals, customers, refusals and outbox, all or nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from psycopg import Cursor
from psycopg_pool import ConnectionPool

from common.database.connections import translated_errors
from common.database.queries import Queries
from common.envelope import signal_id
from worker.copy_rows import EVENT_COLUMN_TYPES, SIGNAL_COLUMN_TYPES, event_row, signal_rows
from worker.customers import CustomerChange, Profile, customer_changes
from worker.domains.domain import Event
from worker.refusals import RefusedEvent, refusal_rows
from worker.validation import TenantType, ValidEvent, same_content

_sql = Queries("worker", "store.sql")
# Decimals as JSON numbers, with all their digits.
_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode_object = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What became of a batch: the events that were new, and how many were known already.

    `conflicts` are those of the known ones that came with other content than the event stored first.
    """

    batch_id: int
    new: Sequence[ValidEvent]
    duplicates: int
    conflicts: Sequence[Event]


class Store:
    """The PostgreSQL side of the ingest stage."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def write(self, events: Sequence[ValidEvent], refused: Sequence[RefusedEvent]) -> StoredBatch:
        """Store a batch in one transaction.

        An event whose (tenant, event_id) is stored already, or came earlier in the batch, changes nothing. The
        same batch again, at once in another worker or much later, changes nothing either.

        Raises:
            DatabaseUnavailableError: nothing was stored; try again.
            psycopg.Error: the content cannot be stored; nothing was.
        """
        with translated_errors(), self._pool.connection() as connection, connection.cursor() as cursor:
            batch_id = _fetch_value(cursor, _sql.next_batch_id)
            new, known = self._claim_identities(cursor, events)
            conflicts = self._conflicts(cursor, known)
            if new:
                event_rows = (event_row(batch_id, event) for event in new)
                _copy(cursor, _sql.copy_events, EVENT_COLUMN_TYPES, event_rows)
                _copy(cursor, _sql.copy_signals, SIGNAL_COLUMN_TYPES, signal_rows(new))
                self._change_customers(cursor, new)
                self._fill_outbox(cursor, batch_id, new)
            if refused:
                cursor.execute(_sql.upsert_rejected_events, refusal_rows(refused))
        return StoredBatch(batch_id, new, len(known), conflicts)

    def tenant_types(self) -> list[TenantType]:
        """All event types that tenants registered for themselves."""
        with translated_errors(), self._pool.connection() as connection:
            return [TenantType(*row) for row in connection.execute(_sql.select_tenant_event_types)]

    def _claim_identities(
        self, cursor: Cursor[Any], events: Sequence[ValidEvent]
    ) -> tuple[list[ValidEvent], list[tuple[ValidEvent, str | None]]]:
        """Split `events` into those whose identity is new and those known: stored, or earlier in the batch.

        The known ones of the latter kind come with the raw text of the first.
        """
        first: dict[UUID, ValidEvent] = {}
        known: list[tuple[ValidEvent, str | None]] = []
        for candidate in events:
            earlier = first.setdefault(candidate.event.event_key, candidate)
            if earlier is not candidate:
                known.append((candidate, earlier.raw))
        if not first:
            return [], known
        cursor.execute(
            _sql.insert_event_keys,
            {
                "event_keys": list(first),
                "tenant_ids": [candidate.event.tenant_id for candidate in first.values()],
                "received_ats": [candidate.event.received_at for candidate in first.values()],
            },
        )
        inserted = {key for (key,) in cursor}
        new = [candidate for key, candidate in first.items() if key in inserted]
        known.extend((candidate, None) for key, candidate in first.items() if key not in inserted)
        return new, known

    def _conflicts(
        self, cursor: Cursor[Any], known: Sequence[tuple[ValidEvent, str | None]]
    ) -> Sequence[Event]:
        looked_up = [candidate.event for candidate, first_raw in known if first_raw is None]
        stored: dict[UUID, str] = {}
        if looked_up:
            cursor.execute(
                _sql.select_raw_events,
                {
                    "event_keys": [event.event_key for event in looked_up],
                    "tenant_ids": [event.tenant_id for event in looked_up],
                },
            )
            stored = dict(cursor.fetchall())
        return [
            candidate.event
            for candidate, first_raw in known
            # An event whose partition was dropped has nothing left to differ from.
            if (raw := first_raw or stored.get(candidate.event.event_key))
            and not same_content(raw, candidate.raw)
        ]

    def _change_customers(self, cursor: Cursor[Any], new: Sequence[ValidEvent]) -> None:
        changes = customer_changes((valid.event, valid.projection) for valid in new)
        cursor.execute(
            _sql.upsert_customers,
            {
                "tenant_ids": [tenant_id for tenant_id, _ in changes],
                "customer_ids": [customer_id for _, customer_id in changes],
                "first_seen": [change.first_seen for change in changes.values()],
                "last_seen": [change.last_seen for change in changes.values()],
                "signal_count": [change.signal_count for change in changes.values()],
                "counts": [_json(change.counts) for change in changes.values()],
                "signal_counts": [_json(change.signal_counts) for change in changes.values()],
                "totals": [_json(change.totals) for change in changes.values()],
                "heat": [change.heat for change in changes.values()],
            },
        )
        renamed = {key: change for key, change in changes.items() if change.profile_changes}
        if renamed:
            self._change_profiles(cursor, renamed)

    def _change_profiles(self, cursor: Cursor[Any], changes: dict[tuple[int, str], CustomerChange]) -> None:
        keys = {
            "tenant_ids": [tenant_id for tenant_id, _ in changes],
            "customer_ids": [customer_id for _, customer_id in changes],
        }
        cursor.execute(_sql.select_profiles, keys)
        profiles = {
            (tenant_id, customer_id): Profile(
                name, email, phone, _decode_object(custom_fields), tags, versions
            )
            for tenant_id, customer_id, name, email, phone, custom_fields, tags, versions in cursor
        }
        ordered = [profiles[key] for key in changes]
        for profile, change in zip(ordered, changes.values(), strict=True):
            profile.apply(change.profile_changes)
        cursor.execute(
            _sql.update_profiles,
            {
                **keys,
                "name": [profile.name for profile in ordered],
                "email": [profile.email for profile in ordered],
                "phone": [profile.phone for profile in ordered],
                "custom_fields": [_json(profile.custom_fields) for profile in ordered],
                "tags": [_json(profile.tags) for profile in ordered],
                "profile_versions": [_json(profile.versions) for profile in ordered],
            },
        )

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
                    "signal_ids": [
                        signal_id(valid.event.event_key, number)
                        for valid in events
                        for number in range(len(valid.projection.signals))
                    ],
                    "received_from": min(received),
                    "received_until": max(received),
                },
            )


def _fetch_value(cursor: Cursor[Any], query: LiteralString) -> int:
    row = cursor.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _copy(
    cursor: Cursor[Any], statement: LiteralString, types: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    with cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _json(value: Any) -> str:
    return _encode(value).decode()
