"""What can be wrong with what is kept, backups and archives alike, each with a stable code and an exit code."""

from typing import ClassVar

from common.errors import SsppError


class BackupError(SsppError):
    """The backup or the restore failed."""

    code = "backup_failed"
    exit_code: ClassVar[int] = 1


class StoreError(BackupError):
    """The place where backups are kept cannot be reached, or refuses what is asked."""

    code = "backup_store_failed"


class NoStoreError(StoreError):
    """The folder in which backups or archives should be kept is not there."""

    code = "backup_store_missing"
    exit_code = 3


class UnusableBackupError(BackupError):
    """There is no backup, or none that can be restored here."""

    code = "backup_unusable"
    exit_code = 3


class CorruptedBackupError(UnusableBackupError):
    """The dump or its manifest is not what was written."""

    code = "backup_corrupted"
    exit_code = 7
