"""What must not come back with a backup: who was erased or suppressed, which keys were revoked, which tenants ended.

A backup has what it had. So what was revoked is also written down beside the backups, as often as one likes. A restore
applies what came after the backup, from there and from the database that it replaces (docs/adr/0011-erasure.md).
"""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import msgspec
import psycopg

from common.customers import customer_hash
from common.database.queries import Queries
from common.envelope import new_event_id
from infrastructure.database.connections import Connection
from infrastructure.safekeeping.errors import CorruptedBackupError
from infrastructure.safekeeping.progress import Steps
from infrastructure.safekeeping.seal import seal, unseal
from infrastructure.safekeeping.stores import Store

_OBJECT = "revocations.json"
_DAMAGED = "revocations.damaged"
_PAGE = 5_000

_sql = Queries(__package__, "revocations.sql")


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A customer that was erased, or is suppressed, under the hash of its id (hex)."""

    slug: str
    tenant_id: int
    customer_hash: str
    erased_at: datetime | None
    suppressed_at: datetime | None


@dataclass(frozen=True, slots=True)
class RevokedKey:
    """An API key that opens nothing any more."""

    prefix: str
    revoked_at: datetime


@dataclass(frozen=True, slots=True)
class EndedTenant:
    """A tenant that is suspended or deleted."""

    slug: str
    tenant_id: int
    status: str
    status_since: datetime


@dataclass(frozen=True, slots=True)
class Revocations:
    """All that was revoked up to `as_of`. It names no customer, and holds no key."""

    as_of: datetime
    tombstones: Sequence[Tombstone]
    keys: Sequence[RevokedKey]
    tenants: Sequence[EndedTenant]


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied to a restored database: how many, and up to when revocations are known."""

    erased: int
    keys: int
    tenants: int
    known_until: datetime


def read_revocations(connection: Connection) -> Revocations | None:
    """What was revoked, by a database; None if its schema is older than revocations are."""
    try:
        with connection.transaction():
            row = connection.execute(_sql.find_now).fetchone()
            assert row is not None
            return Revocations(
                row[0],
                [Tombstone(*each) for each in connection.execute(_sql.list_tombstones)],
                [RevokedKey(*each) for each in connection.execute(_sql.list_revoked_keys)],
                [EndedTenant(*each) for each in connection.execute(_sql.list_ended_tenants)],
            )
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return None


def keep_revocations(connection: Connection, store: Store, steps: Steps) -> Revocations | None:
    """Write down beside the backups what was revoked; returns it.

    What is written there already stays, should this database know less. If that is damaged, it is put aside, which is
    said.
    """
    found = read_revocations(connection)
    if found is None:
        return None
    try:
        known = kept_revocations(store)
    except CorruptedBackupError as error:
        store.write(_DAMAGED, store.read(_OBJECT) or b"")
        steps.warn(f"{error.detail}. It is kept as {_DAMAGED}, and written anew by what this database knows")
        known = None
    all_known = merged(known, found) if known else found
    store.write(_OBJECT, seal({"format": 1, **asdict(all_known)}))
    return all_known


def kept_revocations(store: Store) -> Revocations | None:
    """What is written down beside the backups.

    Raises:
        CorruptedBackupError: it is damaged.
    """
    content = store.read(_OBJECT)
    if content is None:
        return None
    try:
        return msgspec.convert(unseal(content, _OBJECT), Revocations)
    except msgspec.ValidationError as error:
        raise CorruptedBackupError(f"{_OBJECT} is incomplete: {error}") from None


def merged(one: Revocations, other: Revocations) -> Revocations:
    """What either knows. A suppression can end: of that the one that is newer decides."""
    older, newer = sorted((one, other), key=lambda each: each.as_of)
    tombstones = {(each.tenant_id, each.slug, each.customer_hash): each for each in older.tombstones}
    for each in newer.tombstones:
        key = (each.tenant_id, each.slug, each.customer_hash)
        known = tombstones.get(key)
        instants = [at for at in (each.erased_at, known.erased_at if known else None) if at]
        tombstones[key] = Tombstone(
            each.slug, each.tenant_id, each.customer_hash, max(instants, default=None), each.suppressed_at
        )
    keys = {each.prefix: each for each in [*newer.keys, *older.keys]}
    tenants = {(each.tenant_id, each.slug): each for each in [*older.tenants, *newer.tenants]}
    return Revocations(newer.as_of, list(tombstones.values()), list(keys.values()), list(tenants.values()))


def apply_revocations(connection: Connection, known: Revocations) -> Applied:
    """Revoke again, in a restored database, what was revoked since its backup; all of it or nothing.

    Who was erased since gets a tombstone, and a request to be erased if anything is stored of them.
    """
    with connection.transaction():
        cursor = connection.cursor()
        erased = cursor.execute(
            _sql.add_tombstones,
            {
                "slugs": [each.slug for each in known.tombstones],
                "tenant_ids": [each.tenant_id for each in known.tombstones],
                "hashes": [each.customer_hash for each in known.tombstones],
                "erased_ats": [each.erased_at for each in known.tombstones],
                "suppressed_ats": [each.suppressed_at for each in known.tombstones],
            },
        ).fetchall()
        found = _find_customers(
            connection, {(tenant_id, bytes(hashed)): at for tenant_id, hashed, at in erased}
        )
        cursor.executemany(_sql.request_erasure, found)
        keys = cursor.execute(
            _sql.revoke_keys,
            {
                "prefixes": [each.prefix for each in known.keys],
                "revoked_ats": [each.revoked_at for each in known.keys],
            },
        ).rowcount
        tenants = cursor.execute(
            _sql.end_tenants,
            {
                "slugs": [each.slug for each in known.tenants],
                "tenant_ids": [each.tenant_id for each in known.tenants],
                "statuses": [each.status for each in known.tenants],
                "sinces": [each.status_since for each in known.tenants],
            },
        ).rowcount
    return Applied(len(found), keys, tenants, known.as_of)


def together(first: Applied | None, second: Applied | None) -> Applied | None:
    """What was applied in two steps."""
    if first is None or second is None:
        return first or second
    return Applied(
        first.erased + second.erased,
        first.keys + second.keys,
        first.tenants + second.tenants,
        max(first.known_until, second.known_until),
    )


def begin_erasures_again(connection: Connection) -> None:
    """Let the erasures that the backup caught unfinished begin anew."""
    connection.execute(_sql.begin_again)


def _find_customers(
    connection: Connection, erased: dict[tuple[int, bytes], datetime]
) -> list[dict[str, object]]:
    """Who is meant by these hashes, of all customers of whom something is stored, as requests to erase them."""
    if not erased:
        return []
    found: list[dict[str, object]] = []
    tenant_ids = sorted({tenant_id for tenant_id, _ in erased})
    with connection.cursor("stored_customers") as cursor:
        cursor.itersize = _PAGE
        for tenant_id, customer_id in cursor.execute(_sql.list_customers, {"tenant_ids": tenant_ids}):
            hashed = customer_hash(tenant_id, customer_id)
            erased_at = erased.get((tenant_id, hashed))
            if erased_at is not None:
                found.append(
                    {
                        "erasure_id": uuid.UUID(new_event_id()),
                        "tenant_id": tenant_id,
                        "customer_hash": hashed,
                        "customer_id": customer_id,
                        "erased_at": erased_at,
                    }
                )
    return found
