"""Where backups are kept: a folder or a bucket, as objects by name."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from common.errors import SettingsError
from infrastructure.safekeeping.buckets import BucketStore
from infrastructure.safekeeping.errors import NoStoreError, StoreError
from infrastructure.safekeeping.settings import BackupSettings

_STAGING = ".staging-"
_ABANDONED_SECONDS = 24 * 3600


class Store(Protocol):
    """Objects by name. An object is there as a whole or not at all. Failures are `StoreError`."""

    def staging(self) -> AbstractContextManager[Path]:
        """A folder that nobody else reads, for a file that is being made or read; removed at the end."""

    def put(self, name: str, file: Path) -> None:
        """Keep what `file` holds, which may be moved away by that. Returns when it is on disk."""

    def write(self, name: str, content: bytes) -> None:
        """Keep `content`, in place of what is there."""

    def fetch(self, name: str, staging: Path) -> Path | None:
        """A file with what is kept, to be read only: in `staging`, or where it lies; None if there is none."""

    def read(self, name: str) -> bytes | None:
        """What is kept; None if there is none."""

    def names(self) -> list[str]:
        """All objects, in order."""

    def delete(self, name: str) -> None:
        """Delete the object, if it is there."""


def open_store(settings: BackupSettings, *, create: bool = False) -> Store:
    """The store of SSPP_BACKUP_URL.

    Args:
        settings: where it is.
        create: whether a folder that is not there is made: for who keeps something in it. To who only reads, a folder
            that was just made would look like a store of which all is lost.

    Raises:
        SettingsError: it is not set, or names no store; or a bucket has no keys.
        NoStoreError: there is no such folder.
        StoreError: the folder cannot be made.
    """
    if not settings.url:
        raise SettingsError(
            "where are backups kept? Set SSPP_BACKUP_URL to a folder or to s3://bucket/prefix, or give --store"
        )
    parts = urlsplit(settings.url)
    if parts.scheme == "s3":
        return BucketStore(settings, parts.netloc, parts.path.strip("/"))
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return FolderStore(Path(unquote(parts.path)), create=create)
    if parts.scheme and "://" in settings.url:
        raise SettingsError(f"SSPP_BACKUP_URL: {parts.scheme}:// is not supported; it is a folder or s3://…")
    return FolderStore(Path(settings.url), create=create)


class FolderStore:
    """A folder of this machine, or one that is mounted; only its owner can read what is written."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self._folder = folder
        try:
            if create:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            elif not folder.is_dir():
                raise NoStoreError(
                    f"there is no folder {folder}: is it spelt right, and mounted here? "
                    "It is made when something is first kept in it"
                )
        except OSError as error:
            raise _failed(folder, error) from error

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """See `Store`. Within the folder, so that an object only has to be renamed."""
        try:
            self._remove_abandoned()
            staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self._folder))
        except OSError as error:
            raise _failed(self._folder, error) from error
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def put(self, name: str, file: Path) -> None:
        """See `Store`."""
        try:
            file.chmod(0o600)
            with file.open("rb") as content:
                os.fsync(content.fileno())
            file.replace(self._folder / name)
            self._sync()
        except OSError as error:
            raise _failed(self._folder, error) from error

    def write(self, name: str, content: bytes) -> None:
        """See `Store`."""
        with self.staging() as staging:
            try:
                (staging / name).write_bytes(content)
            except OSError as error:
                raise _failed(self._folder, error) from error
            self.put(name, staging / name)

    def fetch(self, name: str, staging: Path) -> Path | None:  # noqa: ARG002 - it can be read where it lies
        """See `Store`."""
        file = self._folder / name
        return file if file.is_file() else None

    def read(self, name: str) -> bytes | None:
        """See `Store`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(self._folder, error) from error

    def names(self) -> list[str]:
        """See `Store`."""
        try:
            return sorted(path.name for path in self._folder.iterdir() if path.is_file())
        except OSError as error:
            raise _failed(self._folder, error) from error

    def delete(self, name: str) -> None:
        """See `Store`."""
        try:
            (self._folder / name).unlink(missing_ok=True)
            self._sync()
        except OSError as error:
            raise _failed(self._folder, error) from error

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _remove_abandoned(self) -> None:
        """Remove what runs that were killed have left."""
        for path in self._folder.glob(f"{_STAGING}*"):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _failed(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"{folder}: {error.strerror or error}; see to the folder, then run it again")
