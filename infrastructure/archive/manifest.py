"""The manifest of an archive: which partition it was, what the lines hold, and what was taken out of them since.

It is written after the lines: an archive is there when its manifest is.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import msgspec

from infrastructure.archive.errors import DamagedArchiveError, NoArchiveError
from infrastructure.safekeeping.errors import CorruptedBackupError
from infrastructure.safekeeping.fingerprint import TableState
from infrastructure.safekeeping.seal import seal, unseal
from infrastructure.safekeeping.stores import Store

FORMAT = 1
LINES = ".ndjson.gz"
_NAME = re.compile(r"(?:events|signals|api_logs)_\d{4}_\d{2}-\d{8}T\d{6}Z-[0-9a-f]{6}")
_OBJECT = re.compile(rf"({_NAME.pattern})(?:-[0-9a-f]{{6}})?{re.escape(LINES)}")


@dataclass(frozen=True, slots=True)
class Content:
    """What an object holds: its name, its bytes and their SHA-256, and the lines and SHA-256 of what it unpacks to."""

    name: str
    size: int
    sha256: str
    lines: int
    lines_sha256: str


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive.

    Attributes:
        name: ``events_2024_01-20261122T031500Z-1f2e3d``, of partition, instant and a random part.
        format: of this manifest.
        partition: what was archived, of `table`.
        table: ``events``, ``signals`` or ``api_logs``.
        starts: the first instant of its month.
        ends: the first instant after it.
        oid: the partition's number in its database: two archives of one month may be of two partitions.
        archived_at: when its rows were read.
        release: the version of the platform that did.
        columns: their names and types, in order.
        state: rows and checksum of the partition.
        tombstones: rows and checksum of the table of erased customers: none of those is in it.
        expired_tenants: whose rows were taken out since.
        content: the object with its lines.
    """

    name: str
    format: int
    partition: str
    table: str
    starts: datetime
    ends: datetime
    oid: int
    archived_at: datetime
    release: str
    columns: Sequence[tuple[str, str]]
    state: TableState
    tombstones: TableState
    expired_tenants: Sequence[int]
    content: Content

    def rewritten(self, content: Content, tombstones: TableState, expired: Sequence[int]) -> "Archive":
        """The same without some of its lines."""
        return replace(self, content=content, tombstones=tombstones, expired_tenants=expired)


def manifest_name(archive: str) -> str:
    """The object that holds the manifest of this archive."""
    return f"{archive}.json"


def archive_of(object_name: str) -> str | None:
    """The archive whose lines an object of this name holds; None if it holds something else."""
    match = _OBJECT.fullmatch(object_name)
    return match[1] if match else None


def archive_names(store: Store) -> list[str]:
    """The names of all archives, in order, whatever state they are in."""
    names = (name.removesuffix(".json") for name in store.names() if name.endswith(".json"))
    return [name for name in names if _NAME.fullmatch(name)]


def write_manifest(store: Store, archive: Archive) -> None:
    """Keep the manifest, in place of the one that is there."""
    store.write(manifest_name(archive.name), seal(asdict(archive)))


def read_manifest(store: Store, name: str) -> Archive:
    """The archive of this name.

    Raises:
        NoArchiveError: there is none.
        DamagedArchiveError: its manifest is not what was written, or of a newer release.
    """
    content = store.read(manifest_name(name)) if _NAME.fullmatch(name) else None
    if content is None:
        raise NoArchiveError(f"there is no archive {name}; list what there is with: sspp archives list")
    try:
        archive = msgspec.convert(unseal(content, f"the manifest of {name}"), Archive)
    except CorruptedBackupError as error:
        raise DamagedArchiveError(error.detail) from None
    except msgspec.ValidationError as error:
        raise DamagedArchiveError(f"the manifest of {name} is incomplete: {error}") from None
    if archive.format != FORMAT or archive.name != name:
        raise DamagedArchiveError(f"the manifest of {name} is of another archive, or of a newer release")
    return archive


def every_archive(store: Store) -> dict[str, Archive | DamagedArchiveError]:
    """All archives by name, in order: what the manifest says, or what is wrong with it."""
    found: dict[str, Archive | DamagedArchiveError] = {}
    for name in archive_names(store):
        try:
            found[name] = read_manifest(store, name)
        except NoArchiveError:  # somebody deleted it just now
            continue
        except DamagedArchiveError as error:
            found[name] = error
    return found


def list_archives(store: Store) -> list[Archive]:
    """All archives with a sound manifest, by name."""
    return [each for each in every_archive(store).values() if isinstance(each, Archive)]


def require_sound(archives: Iterable[Archive | DamagedArchiveError]) -> None:
    """For what can only be done with all of them, once it was done with the others.

    Raises:
        DamagedArchiveError: the manifest of one of `archives`, the first one, is damaged.
    """
    for each in archives:
        if isinstance(each, DamagedArchiveError):
            raise each
