"""Brings the database to the newest schema: numbered SQL files, each applied once and never changed after.

Runs as ``sspp migrate`` or by path: ``python infrastructure/database/migrate.py --database-url URL``.
"""

import argparse
import hashlib
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run by path: imports start at the repository's root, not in this folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import psycopg

from common.clock import system_clock
from common.database.partitions import ensure_partitions
from common.database.queries import Queries
from common.errors import SettingsError, SsppError
from infrastructure.database.connections import Connection, connect
from infrastructure.database.event_types import publish_platform_types

MIGRATIONS = Path(__file__).parent / "migrations"

# Any constant will do, as long as it stays: two releases that differ in it would migrate at the same time.
LOCK_KEY = 0x53535050_0001

_LOCK_WAIT = "2min"  # for another runner to finish
# A statement that waits for a table lock makes everyone queue up behind it: give up soon, let them pass,
# retry.
_LOCK_TIMEOUT = "3s"
_STATEMENT_TIMEOUT = "60s"
_ATTEMPTS = 10
_PAUSE_SECONDS = 1.0
_MONTHS_AHEAD = 3  # upkeep makes more if SSPP_PARTITIONS_AHEAD asks for more

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

_sql = Queries(__package__ or "infrastructure.database", "migrate.sql")


class MigrationError(SsppError):
    """The migrations do not fit the database, or one of them failed."""

    code = "migration_failed"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file ``NNNN_name.sql``; `checksum` is the SHA-256 of its bytes, in hex."""

    version: int
    name: str
    sql: str
    checksum: str

    @property
    def filename(self) -> str:
        """The file's name."""
        return f"{self.version:04}_{self.name}.sql"


def migrate(database_url: str, *, dry_run: bool = False, directory: Path = MIGRATIONS) -> list[Migration]:
    """Apply what is pending and return it, oldest first; with `dry_run`, only return what would be applied.

    Compares before it locks, so a run that finds nothing to do waits for nobody and changes nothing. Each
    migration commits together with its row in schema_migrations: a run that dies can be started again.
    Several runners may start at once; one applies, the others wait up to two minutes and find it done.
    Afterwards the months' partitions exist and the platform's event types are published.

    Raises:
        MigrationError: a file is misnamed, missing, changed or out of order, or its SQL failed.
        DatabaseUnavailableError: the server cannot be reached.
    """
    migrations = read_migrations(directory)
    with connect(database_url, read_only=dry_run) as connection:
        pending = pending_migrations(migrations, _read_applied(connection))
        if dry_run:
            return pending
        if pending:
            pending = _apply_locked(connection, migrations)
        ensure_partitions(connection, now=system_clock(), ahead=_MONTHS_AHEAD)
        publish_platform_types(connection)
        return pending


def read_migrations(directory: Path) -> list[Migration]:
    """The migrations in `directory`, by version.

    Raises:
        MigrationError: a file is not named ``NNNN_name.sql``, or the versions are not 1, 2, 3 and so on.
    """
    migrations = []
    for path in sorted(directory.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(
                f"{path.name}: a migration is named NNNN_name.sql (small letters, digits, _)"
            )
        content = path.read_bytes()
        migrations.append(
            Migration(int(match[1]), match[2], content.decode(), hashlib.sha256(content).hexdigest())
        )
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise MigrationError(
                f"{migration.filename}: expected {expected:04}; versions count up from 0001 without gaps"
            )
    return migrations


def pending_migrations(
    migrations: Sequence[Migration], applied: Mapping[int, tuple[str, str]]
) -> list[Migration]:
    """Those of `migrations` that are not in `applied` (version → name, checksum).

    Raises:
        MigrationError: an applied one is missing or differs on disk, or a newer one was applied before it.
    """
    on_disk = {migration.version: migration for migration in migrations}
    newest = max(applied, default=0)
    for version, (name, checksum) in sorted(applied.items()):
        migration = on_disk.get(version)
        if migration is None:
            raise MigrationError(
                f"{version:04}_{name}.sql was applied to this database, but the file is missing: "
                "is this release older than the database?"
            )
        if migration.name != name:
            raise MigrationError(
                f"{version:04}_{name}.sql was applied, but is now named {migration.filename}"
            )
        if migration.checksum != checksum:
            raise MigrationError(
                f"{migration.filename} was changed after it was applied: undo that, write a new migration"
            )
    pending = [migration for migration in migrations if migration.version not in applied]
    if pending and pending[0].version < newest:
        raise MigrationError(
            f"{pending[0].filename} was never applied, but {newest:04} was: give it the next free number"
        )
    return pending


def _read_applied(connection: Connection) -> dict[int, tuple[str, str]]:
    row = connection.execute(_sql.find_table).fetchone()
    if row is None or not row[0]:
        return {}
    return {version: (name, checksum) for version, name, checksum in connection.execute(_sql.list_applied)}


def _apply_locked(connection: Connection, migrations: Sequence[Migration]) -> list[Migration]:
    connection.execute(_sql.set_timeouts, {"lock": _LOCK_WAIT, "statement": "0", "local": False})
    try:
        connection.execute(_sql.take_lock, {"lock_key": LOCK_KEY})
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(f"another migration run is still going on after {_LOCK_WAIT}") from error
    try:
        # Whoever held the lock before us may have done it all.
        pending = pending_migrations(migrations, _read_applied(connection))
        connection.execute(_sql.create_table)
        for migration in pending:
            _apply(connection, migration)
        return pending
    finally:
        if not connection.broken:
            connection.execute(_sql.release_lock, {"lock_key": LOCK_KEY})


def _apply(connection: Connection, migration: Migration) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with connection.transaction():
                connection.execute(
                    _sql.set_timeouts, {"lock": _LOCK_TIMEOUT, "statement": _STATEMENT_TIMEOUT, "local": True}
                )
                connection.execute(migration.sql.encode())
                connection.execute(
                    _sql.record_migration,
                    {"version": migration.version, "name": migration.name, "checksum": migration.checksum},
                )
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if attempt == _ATTEMPTS:
                raise MigrationError(
                    f"{migration.filename} waited {_LOCK_TIMEOUT} for a lock, {_ATTEMPTS} times over: {error}"
                ) from error
            time.sleep(_PAUSE_SECONDS)
        except psycopg.Error as error:
            raise MigrationError(f"{migration.filename} failed and was rolled back: {error}") from error
        else:
            return


def describe(migrations: Sequence[Migration], *, dry_run: bool) -> str:
    """What `migrate` did or, with `dry_run`, would do, SQL included, as text for people."""
    if not migrations:
        return "The schema is up to date."
    if not dry_run:
        return "\n".join(f"applied {migration.filename}" for migration in migrations)
    return "\n\n".join(
        f"-- would apply {migration.filename}\n{migration.sql.strip()}" for migration in migrations
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this file; returns the exit code."""
    parser = argparse.ArgumentParser(description="Bring the database to the newest schema.")
    parser.add_argument(
        "--database-url",
        default=os.environ.get("DATABASE_URL"),
        help="default: DATABASE_URL of the environment",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would run; change nothing")
    options = parser.parse_args(arguments)
    try:
        if not options.database_url:
            raise SettingsError("which database? Give --database-url or set DATABASE_URL")
        applied = migrate(options.database_url, dry_run=options.dry_run)
    except SsppError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 1
    sys.stdout.write(describe(applied, dry_run=options.dry_run) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
