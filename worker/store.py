"""Writes a batch into PostgreSQL: identities, events, signals, customers, refusals and outbox, all or nothing."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, LiteralString

import msgspec
from psycopg import Cursor
from psycopg_pool import ConnectionPool

from common.database.connections import translated_errors
from common.database.queries import Queries
from common.envelope import signal_id_bytes
from worker.arrays import bigints, doubles, instants, integers, jsonbs, texts, uuids
from worker.candidates import Candidates, CustomerChanges
from worker.copy_rows import EVENT_COLUMN_TYPES, SIGNAL_COLUMN_TYPES, event_row, signal_rows
from worker.customers import CustomerChange, Profile
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

    def write(self, candidates: Candidates, refused: Sequence[RefusedEvent]) -> StoredBatch:
        """Store a batch in one transaction.

        An event whose (tenant, event_id) is stored already, or came earlier in the batch, changes nothing. The
        same batch again, at once in another worker or much later, changes nothing either.

        Raises:
            DatabaseUnavailableError: nothing was stored; try again.
            psycopg.Error: the content cannot be stored; nothing was.
        """
        with translated_errors(), self._pool.connection() as connection, connection.cursor() as cursor:
            batch_id = _fetch_value(cursor, _sql.next_batch_id)
            known = self._claim_identities(cursor, candidates)
            conflicts = self._conflicts(cursor, candidates, known)
            new = [valid for key, valid in candidates.first.items() if key not in known]
            if new:
                event_rows = (event_row(batch_id, event) for event in new)
                _copy(cursor, _sql.copy_events, EVENT_COLUMN_TYPES, event_rows)
                _copy(cursor, _sql.copy_signals, SIGNAL_COLUMN_TYPES, signal_rows(new))
                self._fill_outbox(cursor, batch_id, new)
            if refused:
                cursor.execute(_sql.upsert_rejected_events, refusal_rows(refused))
            # Last, as other batches wait for the customers that they share with this one until it commits.
            if new:
                self._change_customers(cursor, candidates.customer_changes(known))
        return StoredBatch(batch_id, new, len(known) + len(candidates.repeated), conflicts)

    def tenant_types(self) -> list[TenantType]:
        """All event types that tenants registered for themselves."""
        with translated_errors(), self._pool.connection() as connection:
            return [TenantType(*row) for row in connection.execute(_sql.select_tenant_event_types)]

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

    def _change_customers(self, cursor: Cursor[Any], changes: CustomerChanges) -> None:
        cursor.execute(
            _sql.upsert_customers,
            {
                "tenant_ids": integers([tenant_id for tenant_id, _ in changes]),
                "customer_ids": texts([customer_id for _, customer_id in changes]),
                "first_seen": instants([change.first_seen for change in changes.values()]),
                "last_seen": instants([change.last_seen for change in changes.values()]),
                "signal_count": bigints([change.signal_count for change in changes.values()]),
                "counts": jsonbs([_encode(change.counts) for change in changes.values()]),
                "signal_counts": jsonbs([_encode(change.signal_counts) for change in changes.values()]),
                "totals": jsonbs([_encode(change.totals) for change in changes.values()]),
                "heat": doubles([change.heat for change in changes.values()]),
            },
        )
        renamed = {key: change for key, change in changes.items() if change.profile_changes}
        if renamed:
            self._change_profiles(cursor, renamed)

    def _change_profiles(self, cursor: Cursor[Any], changes: dict[tuple[int, str], CustomerChange]) -> None:
        keys = {
            "tenant_ids": integers([tenant_id for tenant_id, _ in changes]),
            "customer_ids": texts([customer_id for _, customer_id in changes]),
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
                "name": texts([profile.name for profile in ordered]),
                "email": texts([profile.email for profile in ordered]),
                "phone": texts([profile.phone for profile in ordered]),
                "custom_fields": jsonbs([_encode(profile.custom_fields) for profile in ordered]),
                "tags": jsonbs([_encode(profile.tags) for profile in ordered]),
                "profile_versions": jsonbs([_encode(profile.versions) for profile in ordered]),
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
                    "signal_ids": uuids(
                        signal_id_bytes(valid.event.event_key, number)
                        for valid in events
                        for number in range(len(valid.projection.signals))
                    ),
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
