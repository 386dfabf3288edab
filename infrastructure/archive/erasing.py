"""Taking out of archives whom the platform has forgotten: erased customers, and tenants whose data has expired."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from common.customers import customer_hash
from common.database.ddl import Connection
from common.database.queries import Queries
from infrastructure.archive.keeping import delete_archive, require_finished_erasures
from infrastructure.archive.lines import check, pack, unpack
from infrastructure.archive.manifest import (
    LINES,
    Archive,
    Content,
    archive_of,
    every_archive,
    list_archives,
    manifest_name,
    require_sound,
    write_manifest,
)
from infrastructure.safekeeping.fingerprint import state_of
from infrastructure.safekeeping.progress import Advance, Steps
from infrastructure.safekeeping.stores import Store

_sql = Queries(__package__, "archive.sql")

_Tombstones = Mapping[tuple[int, bytes], datetime]


class _Line(msgspec.Struct):
    """What of a line tells whose it is."""

    tenant_id: int
    received_at: datetime
    customer_id: str | None = None


_decode = msgspec.json.Decoder(_Line).decode


@dataclass(frozen=True, slots=True)
class Erased:
    """What was taken out of one archive."""

    archive: str
    rows: int


def erase_from_archives(connection: Connection, store: Store, steps: Steps, *, now: datetime) -> list[Erased]:
    """Write each archive anew without the lines that are to be forgotten; returns which ones had any.

    Those are the lines of erased customers, of what was received until they were erased; of deleted tenants; and of
    tenants whose own retention has passed for the whole month. Archives that were gone through, and for which nothing
    has come since, are not read again. May be killed at any point, and run again. Run it alone (`archiving_alone`).

    Args:
        connection: of a role that sees all rows.
        store: where archives are kept.
        steps: is told how it goes.
        now: as the clock has it.

    Raises:
        NoArchiveError, DamagedArchiveError: an archive is not what was written; it was left as it is. If that is its
            manifest, all others were gone through.
        StoreError: the store is away or full.
    """
    require_finished_erasures(connection)
    # The state before the list: who comes in between is looked for the next time.
    state = state_of(connection, "tombstones")
    tombstones: dict[tuple[int, bytes], datetime] = {
        (tenant_id, bytes(hashed)): erased_at
        for tenant_id, hashed, erased_at in connection.execute(_sql.list_tombstones)
    }
    found = every_archive(store)
    archives = [each for each in found.values() if isinstance(each, Archive)]
    _delete_left_over(store, archives)
    erased = []
    for archive in archives:
        tenants = connection.execute(_sql.list_expired_tenants, {"ends": archive.ends, "now": now})
        expired = sorted({*(tenant_id for (tenant_id,) in tenants), *archive.expired_tenants})
        if archive.tombstones == state and list(archive.expired_tenants) == expired:
            continue
        with steps.step(f"going through {archive.name}", archive.content.lines, "rows") as advance:
            content, rows = _rewrite(store, archive, tombstones, frozenset(expired), advance)
        write_manifest(store, archive.rewritten(content, state, expired))
        if content != archive.content:
            store.delete(archive.content.name)
            erased.append(Erased(archive.name, rows))
    require_sound(found.values())
    return erased


def prune_archives(store: Store, before: datetime) -> list[str]:
    """Delete the archives of months that ended at or before `before`; returns their names. Damaged ones stay."""
    old = [archive for archive in list_archives(store) if archive.ends <= before]
    for archive in old:
        delete_archive(store, archive)
    return [archive.name for archive in old]


def _rewrite(
    store: Store, archive: Archive, tombstones: _Tombstones, expired: frozenset[int], advance: Advance
) -> tuple[Content, int]:
    """The content without what is to be forgotten, kept under a name of its own; the same if there is nothing."""
    removed = 0

    def kept() -> Iterator[bytes]:
        nonlocal removed
        for line in unpack(store, archive.content):
            if _is_forgotten(_decode(line), tombstones, expired):
                removed += 1
            else:
                yield line

    with store.staging() as staging:
        file = staging / f"{archive.name}-{secrets.token_hex(3)}{LINES}"
        content = pack(kept(), file, advance)
        if not removed:
            return archive.content, 0
        store.put(content.name, file)
    check(store, content)
    return content, removed


def _is_forgotten(line: _Line, tombstones: _Tombstones, expired: frozenset[int]) -> bool:
    if line.tenant_id in expired:
        return True
    if line.customer_id is None or not tombstones:
        return False
    erased_at = tombstones.get((line.tenant_id, customer_hash(line.tenant_id, line.customer_id)))
    return erased_at is not None and line.received_at <= erased_at


def _delete_left_over(store: Store, archives: list[Archive]) -> None:
    """Delete what runs that broke off have left: lines that no manifest names, unless that manifest is damaged."""
    names = set(store.names())
    current = {archive.name: archive.content.name for archive in archives}
    for name in names:
        archive = archive_of(name)
        if archive is None or current.get(archive) == name:
            continue
        if archive in current or manifest_name(archive) not in names:
            store.delete(name)
