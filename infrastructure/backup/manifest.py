"""The manifest of a backup: what the dump holds and how it must look, so that a restore can be compared with it.

It is written after the dump: a backup is there when its manifest is.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

import msgspec

from infrastructure.backup.errors import WrongVersionError
from infrastructure.safekeeping.errors import CorruptedBackupError
from infrastructure.safekeeping.fingerprint import TableState
from infrastructure.safekeeping.seal import seal, unseal

FORMAT = 1
_NAME = re.compile(r"sspp-\d{8}T\d{6}Z-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup.

    Attributes:
        name: ``sspp-20261122T031500Z-1f2e3d``, of its instant and a random part; names in their order are the order in
            time.
        format: of this manifest.
        taken_at: when the snapshot was taken: what was committed before is in it.
        dump: the object that holds the dump.
        size: its bytes.
        sha256: of its bytes, in hex.
        encryption: ``age``, or None.
        server_version: the PostgreSQL that was dumped, as 180004.
        owner: the role that owned the tables.
        release: the version of the platform that took it.
        migrations: version → name and checksum of each applied migration.
        newest_event: the highest received_at of all events; None if there were none.
        tables: rows and checksum of each table.
    """

    name: str
    format: int
    taken_at: datetime
    dump: str
    size: int
    sha256: str
    encryption: str | None
    server_version: int
    owner: str
    release: str
    migrations: Mapping[int, tuple[str, str]]
    newest_event: datetime | None
    tables: Mapping[str, TableState]

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(table.rows for table in self.tables.values())

    @property
    def schema_version(self) -> int:
        """The number of the newest migration."""
        return max(self.migrations, default=0)


def manifest_name(backup: str) -> str:
    """The object that holds the manifest of this backup."""
    return f"{backup}.json"


def backup_of(object_name: str) -> str | None:
    """The backup whose manifest an object of this name holds; None if it holds something else."""
    backup = object_name.removesuffix(".json")
    return backup if backup != object_name and _NAME.fullmatch(backup) else None


def encode(manifest: Manifest) -> bytes:
    """As JSON for people too, with a checksum of itself."""
    return seal(asdict(manifest))


def decode(backup: str, content: bytes) -> Manifest:
    """The manifest in `content`.

    Raises:
        CorruptedBackupError: it is damaged, or of another backup.
        WrongVersionError: a newer release wrote it.
    """
    found = unseal(content, f"the manifest of {backup}")
    if found.get("format") != FORMAT:
        raise WrongVersionError(
            f"the manifest of {backup} has the format {found.get('format')}, this release reads {FORMAT}: "
            "restore it with the release that made it"
        )
    try:
        manifest = msgspec.convert(found, Manifest, str_keys=True)
    except msgspec.ValidationError as error:
        raise CorruptedBackupError(f"the manifest of {backup} is incomplete: {error}") from None
    if manifest.name != backup:
        raise CorruptedBackupError(f"the manifest of {backup} is that of {manifest.name}")
    return manifest
