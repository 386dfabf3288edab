"""Taking a backup: one snapshot, dumped, counted and described."""

import hashlib
import secrets
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import psycopg

from common.clock import Clock, system_clock
from common.database.queries import Queries
from infrastructure.backup.encryption import encrypt
from infrastructure.backup.manifest import FORMAT, Manifest, encode, manifest_name
from infrastructure.backup.programs import find_programs
from infrastructure.database.connections import Connection, connect
from infrastructure.safekeeping.errors import BackupError, StoreError
from infrastructure.safekeeping.fingerprint import list_tables, take_fingerprint
from infrastructure.safekeeping.progress import Advance, Steps
from infrastructure.safekeeping.settings import BackupSettings
from infrastructure.safekeeping.stores import Store

_CHUNK_BYTES = 1024 * 1024

_sql = Queries(__package__, "taking.sql")


def take_backup(
    database_url: str,
    store: Store,
    settings: BackupSettings,
    steps: Steps,
    *,
    clock: Clock = system_clock,
) -> Manifest:
    """Back the database up; returns what was kept.

    Everything is as one snapshot shows it, taken while the platform runs: the dump, the rows that are counted and their
    checksums. The manifest is written last, so that a run that breaks off leaves no backup.

    Args:
        database_url: of a role that sees all rows and may read all tables.
        store: where it is kept.
        settings: for whom it is encrypted, and whose pg_dump makes it.
        steps: is told how it goes.
        clock: names the backup.

    Raises:
        BackupError: pg_dump failed, or the database has no tables of ours.
        StoreError: the store is away or full.
        DatabaseUnavailableError: PostgreSQL is away.
    """
    name = f"sspp-{clock():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    with connect(database_url, read_only=True) as connection, store.staging() as staging:
        programs = find_programs(settings.postgresql_bin, at_least=connection.info.server_version // 10_000)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            tables = list_tables(connection)
            if not {"events", "schema_migrations"} <= set(tables):
                raise BackupError("the database lacks our tables: is DATABASE_URL the right one?")
            connection.execute(_sql.wait_for_nothing)
            snapshot, taken_at = _one(connection, "export_snapshot")
            dump = f"{name}.dump{'.age' if settings.recipients else ''}"
            with (
                steps.step(f"dumping into {dump}", unit="bytes") as advance,
                programs.dump(database_url, snapshot=snapshot) as source,
            ):
                size, sha256 = _write(source, staging / dump, settings.recipients, advance)
            with steps.step("counting rows and adding up checksums", len(tables), "tables") as advance:
                states = take_fingerprint(connection, counted=lambda _: advance(1))
            manifest = Manifest(
                name=name,
                format=FORMAT,
                taken_at=taken_at,
                dump=dump,
                size=size,
                sha256=sha256,
                encryption="age" if settings.recipients else None,
                server_version=connection.info.server_version,
                owner=_one(connection, "find_owner")[0],
                release=version("sspp"),
                migrations={
                    number: (title, checksum)
                    for number, title, checksum in connection.execute(_sql.list_applied)
                },
                newest_event=_one(connection, "find_newest_event")[0],
                tables=states,
            )
        if not settings.recipients:
            programs.check(staging / dump)
        with steps.step("keeping it"):
            store.put(dump, staging / dump)
            store.write(manifest_name(name), encode(manifest))
    return manifest


def _one(connection: Connection, statement: str) -> tuple[Any, ...]:
    row = connection.execute(getattr(_sql, statement)).fetchone()
    assert row is not None
    return row


def _write(source: IO[bytes], file: Path, recipients: Sequence[str], advance: Advance) -> tuple[int, str]:
    """Write the dump, encrypted if there are recipients; returns size and SHA-256 of what was written."""
    try:
        with file.open("wb") as target:
            file.chmod(0o600)
            measured = _Measured(target, advance)
            if recipients:
                encrypt(cast("BinaryIO", source), cast("BinaryIO", measured), recipients)
            else:
                while chunk := source.read(_CHUNK_BYTES):
                    measured.write(chunk)
    except OSError as error:
        raise StoreError(f"{file.parent} does not take the dump: {error.strerror or error}") from error
    return measured.size, measured.sha256


class _Measured:
    """Passes on what is written, and measures it."""

    def __init__(self, target: BinaryIO, advance: Advance) -> None:
        self._target = target
        self._advance = advance
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, content: bytes) -> int:
        self._hash.update(content)
        self.size += len(content)
        self._advance(len(content))
        return self._target.write(content)

    def flush(self) -> None:
        self._target.flush()
