"""What can be wrong with archives and with dropping, each with a stable code and an exit code of the command."""

from infrastructure.safekeeping.errors import BackupError, UnusableBackupError


class ArchiveError(BackupError):
    """A partition could not be archived; it was not dropped."""

    code = "archive_failed"


class ErasuresUnfinishedError(ArchiveError):
    """Customers are being erased, and an archive would keep them; run again when that is done."""

    code = "erasures_unfinished"


class PartitionChangedError(ArchiveError):
    """The partition is not what was archived."""

    code = "partition_changed"


class UnexpiredDataError(BackupError):
    """What is to be dropped holds data that somebody's retention still keeps."""

    code = "drop_refused"
    exit_code = 4


class NoArchiveError(UnusableBackupError):
    """The store has no such archive."""

    code = "archive_not_found"


class DamagedArchiveError(UnusableBackupError):
    """An archive or its manifest is not what was written."""

    code = "archive_damaged"
