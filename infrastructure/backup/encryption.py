"""Encryption of dumps in the age format (https://age-encryption.org/v1): authenticated, for public keys.

Whoever takes backups needs the public keys only; the secret key can stay where restores are made. The ``age`` program
reads and writes the same files.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyrage

from common.errors import SettingsError
from infrastructure.backup.errors import EncryptedBackupError
from infrastructure.safekeeping.errors import BackupError, CorruptedBackupError


def encrypt(source: BinaryIO, target: BinaryIO, recipients: Sequence[str]) -> None:
    """Write what `source` holds into `target`, for all of `recipients`; streams.

    Raises:
        SettingsError: one of them is no public key.
        BackupError: it failed; `target` may be full.
    """
    try:
        keys = [pyrage.x25519.Recipient.from_str(key) for key in recipients]
    except pyrage.RecipientError:
        raise SettingsError("SSPP_BACKUP_AGE_RECIPIENTS: one of them is no age1… public key") from None
    try:
        with _watched(target) as writable:
            pyrage.encrypt_io(source, writable, keys)
    except (pyrage.EncryptError, _TargetError) as error:
        raise BackupError(f"the dump cannot be encrypted: {error}") from error


def decrypt(source: Path, target: Path, identity_file: Path | None) -> None:
    """Write what `source` holds, decrypted with one of the keys in `identity_file`, into `target`.

    Raises:
        EncryptedBackupError: there is no key, or none fits.
        CorruptedBackupError: the content was changed or cut off.
        SettingsError: the file holds no secret keys.
    """
    if identity_file is None:
        raise EncryptedBackupError(
            "the backup is encrypted: name the file with the secret key in SSPP_BACKUP_AGE_IDENTITY_FILE"
        )
    lines = identity_file.read_text(encoding="utf-8").splitlines()
    try:
        keys = [
            pyrage.x25519.Identity.from_str(line.strip())
            for line in lines
            if line.strip() and not line.startswith("#")
        ]
    except pyrage.IdentityError:
        keys = []
    if not keys:
        raise SettingsError("SSPP_BACKUP_AGE_IDENTITY_FILE: it holds no AGE-SECRET-KEY-1…")
    try:
        with source.open("rb") as encrypted, target.open("wb") as plain, _watched(plain) as writable:
            pyrage.decrypt_io(encrypted, writable, keys)
    except pyrage.DecryptError as error:
        if "matching" in str(error).lower():
            raise EncryptedBackupError(
                "the backup is encrypted for other keys than that of SSPP_BACKUP_AGE_IDENTITY_FILE"
            ) from None
        raise CorruptedBackupError(f"the dump cannot be decrypted: {error}") from None
    except _TargetError as error:
        raise BackupError(f"there is no room for the decrypted dump: {error}") from error
    except OSError as error:
        raise CorruptedBackupError(f"the dump cannot be decrypted: {error}") from None


class _TargetError(Exception):
    """What was written to did not take it."""


class _Watched:
    """Passes on what is written, and remembers a failure: the library forgets one that befalls its last bytes."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.failure: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            return self._target.write(content)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        self._target.flush()


@contextmanager
def _watched(target: BinaryIO) -> Iterator[_Watched]:
    watched = _Watched(target)
    try:
        yield watched
    finally:
        if watched.failure:
            raise _TargetError(str(watched.failure)) from watched.failure
