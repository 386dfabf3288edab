"""What can be wrong with a backup or a restore, each with a stable code and an exit code of the command."""

from infrastructure.safekeeping.errors import BackupError, UnusableBackupError


class ProgramsTooOldError(BackupError):
    """There is no pg_dump and pg_restore that is new enough for the server."""

    code = "backup_programs_too_old"
    exit_code = 11


class NoBackupError(UnusableBackupError):
    """The store has no such backup."""

    code = "backup_not_found"


class EmptyBackupError(UnusableBackupError):
    """The dump is empty."""

    code = "backup_empty"
    exit_code = 5


class TruncatedBackupError(UnusableBackupError):
    """The dump is smaller than its manifest says."""

    code = "backup_truncated"
    exit_code = 6


class WrongVersionError(UnusableBackupError):
    """The backup is of a newer release, or of a newer PostgreSQL, than what is to take it."""

    code = "backup_wrong_version"
    exit_code = 8


class EncryptedBackupError(UnusableBackupError):
    """The backup is encrypted, and no key at hand opens it."""

    code = "backup_not_decrypted"
    exit_code = 9


class RestoredDifferentlyError(UnusableBackupError):
    """What was restored differs from what was backed up."""

    code = "backup_restored_differently"
    exit_code = 10


class RevocationsUnknownError(BackupError):
    """The database is restored, and nobody knows what was revoked after its backup."""

    code = "revocations_unknown"
    exit_code = 12


class LiveDatabaseError(BackupError):
    """The database that is to be restored holds data."""

    code = "restore_refused"
    exit_code = 4
