"""The backups of a store: which there are, whether they are whole, and which may go."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from infrastructure.backup.errors import EmptyBackupError, NoBackupError, TruncatedBackupError
from infrastructure.backup.manifest import Manifest, backup_of, decode, manifest_name
from infrastructure.safekeeping.errors import CorruptedBackupError, UnusableBackupError
from infrastructure.safekeeping.progress import Advance
from infrastructure.safekeeping.seal import seal, unseal
from infrastructure.safekeeping.stores import Store

_CHUNK_BYTES = 1024 * 1024
_DRILLED = ".drilled"
_LATEST = 3  # a drill takes the newest backup, unless somebody names another


def every_backup(store: Store) -> dict[str, Manifest | UnusableBackupError]:
    """All backups by name, the newest first: what the manifest says, or what is wrong with it."""
    found: dict[str, Manifest | UnusableBackupError] = {}
    for name in backup_names(store):
        try:
            found[name] = find_backup(store, name)
        except NoBackupError:  # somebody deleted it just now
            continue
        except UnusableBackupError as error:
            found[name] = error
    return found


def list_backups(store: Store) -> list[Manifest]:
    """All backups with a sound manifest, the newest first."""
    return [each for each in every_backup(store).values() if isinstance(each, Manifest)]


def backup_names(store: Store) -> list[str]:
    """The names of all backups, the newest first, whatever state they are in."""
    return sorted((name for each in store.names() if (name := backup_of(each))), reverse=True)


def find_backup(store: Store, name: str | None = None) -> Manifest:
    """The backup of this name, or the newest one.

    Raises:
        NoBackupError: there is none.
        UnusableBackupError: its manifest is damaged, or of a newer release.
    """
    if name is None:
        names = backup_names(store)
        if not names:
            raise NoBackupError("there are no backups here; make one with: sspp backup")
        name = names[0]
    content = store.read(manifest_name(name))
    if content is None:
        raise NoBackupError(f"there is no backup {name}; list what there is with: sspp backup --list")
    return decode(name, content)


def fetch_dump(store: Store, manifest: Manifest, staging: Path, advance: Advance = lambda _: None) -> Path:
    """A file with the dump, once it was compared with the manifest, byte for byte.

    Raises:
        NoBackupError, EmptyBackupError, TruncatedBackupError, CorruptedBackupError: what is wrong with it.
    """
    file = store.fetch(manifest.dump, staging)
    if file is None:
        raise NoBackupError(f"{manifest.dump} is missing; its manifest alone restores nothing")
    size = file.stat().st_size
    if size == 0:
        raise EmptyBackupError(f"{manifest.dump} is empty; it had {manifest.size:,} bytes when it was made")
    if size < manifest.size:
        raise TruncatedBackupError(
            f"{manifest.dump} is smaller than its manifest says, {size:,} instead of {manifest.size:,} bytes: "
            "it was cut off, or is another file"
        )
    found = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            found.update(chunk)
            advance(len(chunk))
    if found.hexdigest() != manifest.sha256:
        raise CorruptedBackupError(
            f"{manifest.dump} is not what was written, its SHA-256 differs: it was changed, or is another file"
        )
    return file


def note_drill(store: Store, manifest: Manifest, at: datetime) -> None:
    """Note that this backup was restored and compared."""
    store.write(f"{manifest.name}{_DRILLED}", seal({"backup": manifest.name, "at": at}))


def was_drilled(store: Store, manifest: Manifest) -> bool:
    """Whether the backup was once restored and compared."""
    content = store.read(f"{manifest.name}{_DRILLED}")
    try:
        return content is not None and bool(unseal(content, manifest.name))
    except CorruptedBackupError:
        return False


def last_drill(store: Store) -> datetime | None:
    """When a drill last restored one of the newest backups that were drilled; None if none did."""
    instants = []
    for name in [name for name in store.names() if name.endswith(_DRILLED)][-_LATEST:]:
        content = store.read(name)
        try:
            noted = unseal(content, name)["at"] if content else None
            instants += [datetime.fromisoformat(noted)] if noted else []
        except (CorruptedBackupError, KeyError, ValueError):
            continue
    return max(instants, default=None)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `prune` did: the backups that it deleted, and the newest one that it found whole."""

    deleted: Sequence[str]
    last_good: str | None


def prune(store: Store, *, now: datetime, keep_days: float) -> Pruned:
    """Delete the backups that are older than `keep_days`; never the last good one, nor any that is newer than that.

    Good is what is whole when it is read again, byte for byte; of two kinds the last one stays: of all that are whole,
    and of those that a drill has restored. So damaged backups push no good one out, however many they are. Read is only
    what is needed to tell.
    """
    backups = list_backups(store)
    expired = [each for each in backups if each.taken_at < now - timedelta(days=keep_days)]
    if not expired:
        return Pruned([], None)
    good = next((each for each in backups if _is_whole(store, each)), None)
    if good is None:
        return Pruned([], None)
    proved = next((each for each in backups if was_drilled(store, each) and _is_whole(store, each)), None)
    deleted = [
        each.name
        for each in expired
        if each.taken_at < good.taken_at and (proved is None or each.name != proved.name)
    ]
    for name in deleted:
        # The manifest first: what is left of a run that breaks off is no backup any more.
        store.delete(manifest_name(name))
        store.delete(f"{name}{_DRILLED}")
        store.delete(f"{name}.dump")
        store.delete(f"{name}.dump.age")
    return Pruned(deleted, good.name)


def _is_whole(store: Store, manifest: Manifest) -> bool:
    try:
        with store.staging() as staging:
            fetch_dump(store, manifest, staging)
    except UnusableBackupError:
        return False
    return True
