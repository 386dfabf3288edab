"""The rows of customers: what batches of events add to them."""

from decimal import Decimal
from typing import Any

import msgspec
from psycopg import Cursor

from common.database.queries import Queries
from worker.store.arrays import bigints, doubles, instants, integers, jsonbs, texts
from worker.store.candidates import CustomerChanges
from worker.store.customers import CustomerChange, Profile

_sql = Queries("worker.store", "customer_rows.sql")
# Decimals as JSON numbers, with all their digits.
_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode_object = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode


def change_customers(cursor: Cursor[Any], changes: CustomerChanges) -> None:
    """Add `changes` to the customers that they are about; those that do not exist are made."""
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
        _change_profiles(cursor, renamed)


def _change_profiles(cursor: Cursor[Any], changes: dict[tuple[int, str], CustomerChange]) -> None:
    keys = {
        "tenant_ids": integers([tenant_id for tenant_id, _ in changes]),
        "customer_ids": texts([customer_id for _, customer_id in changes]),
    }
    cursor.execute(_sql.select_profiles, keys)
    profiles = {
        (tenant_id, customer_id): Profile(name, email, phone, _decode_object(custom_fields), tags, versions)
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
