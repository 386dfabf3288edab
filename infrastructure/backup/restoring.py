"""Restoring a backup: beside the live database, compared with its manifest, and only then in its place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from elasticsearch import Elasticsearch

from common.clock import Clock, rfc3339, system_clock
from common.errors import DatabaseUnavailableError
from infrastructure.backup.catalogue import fetch_dump
from infrastructure.backup.encryption import decrypt
from infrastructure.backup.errors import LiveDatabaseError, RestoredDifferentlyError, WrongVersionError
from infrastructure.backup.manifest import Manifest
from infrastructure.backup.programs import Programs, find_programs
from infrastructure.backup.revocations import (
    Applied,
    Revocations,
    apply_revocations,
    merged,
    read_revocations,
    together,
)
from infrastructure.backup.scratch import DatabaseServer
from infrastructure.backup.settling import describe as describe_revoked
from infrastructure.backup.settling import readable_revocations, settle
from infrastructure.database.connections import connect
from infrastructure.database.migrate import (
    MIGRATIONS,
    Migration,
    MigrationError,
    migrate,
    pending_migrations,
    read_migrations,
)
from infrastructure.safekeeping.fingerprint import differences, take_fingerprint
from infrastructure.safekeeping.progress import Steps
from infrastructure.safekeeping.settings import BackupSettings
from infrastructure.safekeeping.stores import Store


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        manifest: of the backup.
        former: the name by which the database that was there stays; None if there was none.
        migrations: those that the backup lacked.
        revoked: what was revoked again; None if nothing is known of the time after the backup.
    """

    manifest: Manifest
    former: str | None
    migrations: list[Migration]
    revoked: Applied | None


class Restorer:
    """Restores backups of a store on the server of a database URL.

    Args:
        database_url: of a role that may create databases and roles.
        store: where the backups are.
        settings: what decrypts them, and whose pg_restore reads them.
        steps: is told how it goes.
        clock: names what is put aside.
    """

    def __init__(
        self,
        database_url: str,
        store: Store,
        settings: BackupSettings,
        steps: Steps,
        *,
        clock: Clock = system_clock,
    ) -> None:
        self._store = store
        self._settings = settings
        self._steps = steps
        self._clock = clock
        self._server = DatabaseServer(database_url)

    def restore(self, manifest: Manifest, *, overwrite: bool, search: Elasticsearch | None) -> Restored:
        """Put the backup in the place of the live database.

        Nothing is changed before the restored rows are compared with the manifest, migrated, and erased again where
        customers were erased since. Then both databases are renamed in one transaction.

        Args:
            manifest: which backup.
            overwrite: whether a database that has tables may be replaced; it stays under another name.
            search: whose indices the restored database is to name; None if there is none.

        Raises:
            LiveDatabaseError: there is data, and `overwrite` was not asked for.
            UnusableBackupError: the backup cannot be restored, or not here.
            BackupError: something else failed.
        """
        if not overwrite and (tables := self._server.live_tables()):
            raise LiveDatabaseError(
                f"the database {self._server.live} holds {len(tables)} tables, and nothing was changed. To replace it: "
                "stop the API and the workers, then give --overwrite; it is kept under another name"
            )
        with self._loaded(manifest) as scratch:
            migrations = self._migrated(scratch)
            with self._steps.step("settling what is about another time"):
                known = self._known_revocations(manifest)
                applied = settle(self._server.url(scratch), known, search)
            at = self._clock()
            with self._steps.step("putting it in place"):
                former = self._server.swap_in(scratch, at=at)
        late = self._late_revocations(former, known, manifest)
        return Restored(manifest, former, migrations, together(applied, late))

    def drill(self, manifest: Manifest) -> None:
        """Restore the backup into a database of its own, compare and migrate it, and drop it again.

        Raises:
            UnusableBackupError: the backup cannot be restored.
            BackupError: something else failed.
        """
        with self._loaded(manifest) as scratch:
            self._migrated(scratch)

    @contextmanager
    def _loaded(self, manifest: Manifest) -> Iterator[str]:
        """A scratch database with the backup in it, equal to what its manifest says."""
        self._check_versions(manifest)
        programs = find_programs(self._settings.postgresql_bin, at_least=manifest.server_version // 10_000)
        # What is decrypted stays on this machine, wherever the store is.
        with self._store.staging() as staging, TemporaryDirectory(prefix="sspp-restore-") as plain:
            dump = self._checked_dump(manifest, programs, staging, Path(plain) / "plain.dump")
            self._server.ensure_roles()
            owner = manifest.owner if self._server.can_act_as(manifest.owner) else None
            with self._server.scratch(owner=owner) as scratch:
                url = self._server.url(scratch)
                with self._steps.step(f"loading {manifest.rows:,} rows"):
                    programs.restore(dump, url, jobs=min(4, os.cpu_count() or 1), role=owner)
                total = len(manifest.tables)
                with (
                    self._steps.step("comparing rows and checksums", total, "tables") as advance,
                    connect(url) as connection,
                ):
                    found = take_fingerprint(connection, counted=lambda _: advance(1))
                if told := differences(manifest.tables, found):
                    raise RestoredDifferentlyError(
                        f"what was restored is not what was backed up: {'; '.join(told)}. Nothing was changed"
                    )
                yield scratch

    def _check_versions(self, manifest: Manifest) -> None:
        if manifest.server_version // 10_000 > self._server.version // 10_000:
            raise WrongVersionError(
                f"{manifest.name} is of PostgreSQL {manifest.server_version // 10_000}, and this server is "
                f"{self._server.version // 10_000}: restore it on that version or a newer one"
            )
        try:
            pending_migrations(read_migrations(MIGRATIONS), manifest.migrations)
        except MigrationError as error:
            raise WrongVersionError(
                f"{manifest.name} was made by sspp {manifest.release} with migration {manifest.schema_version:04}, "
                f"which this release does not fit ({error.detail}): restore it with that release, then upgrade"
            ) from error

    def _checked_dump(self, manifest: Manifest, programs: Programs, staging: Path, plain: Path) -> Path:
        with self._steps.step(f"checking {manifest.dump}", manifest.size, "bytes") as advance:
            dump = fetch_dump(self._store, manifest, staging, advance)
        if manifest.encryption == "age":
            with self._steps.step("decrypting it"):
                decrypt(dump, plain, self._settings.identity_file)
            dump = plain
        programs.check(dump)
        return dump

    def _migrated(self, scratch: str) -> list[Migration]:
        with self._steps.step("migrating"):
            return migrate(self._server.url(scratch))

    def _known_revocations(self, manifest: Manifest) -> Revocations | None:
        """What was revoked since the backup, as far as the store and the live database know."""
        known = readable_revocations(self._store, self._steps)
        live = self._revocations_of(self._server.live) if self._server.live_tables() else None
        if known and live:
            known = merged(known, live)
        known = known or live
        return known if known and known.as_of > manifest.taken_at else None

    def _late_revocations(
        self, former: str | None, known: Revocations | None, manifest: Manifest
    ) -> Applied | None:
        """Apply what the live database was told while its successor was being made; None if that is not known."""
        late = self._revocations_of(former) if former else None
        if late is None or late.as_of <= manifest.taken_at:
            return None
        with connect(self._server.url(self._server.live)) as connection:
            return apply_revocations(connection, merged(known, late) if known else late)

    def _revocations_of(self, database: str) -> Revocations | None:
        try:
            with connect(self._server.url(database), read_only=True) as connection:
                return read_revocations(connection)
        except (DatabaseUnavailableError, psycopg.Error) as error:
            self._steps.warn(f"what was revoked in {database} since the backup cannot be read: {error}")
            return None


def describe(restored: Restored) -> str:
    """What was restored, for people, and what is left to do."""
    manifest = restored.manifest
    newest = rfc3339(manifest.newest_event) if manifest.newest_event else "none"
    lines = [
        f"Restored {manifest.name}: {manifest.rows:,} rows, as of {rfc3339(manifest.taken_at)}, newest event {newest}.",
        "All counts and checksums are those of the backup.",
    ]
    if restored.migrations:
        lines.append(f"Migrated: {', '.join(each.filename for each in restored.migrations)}.")
    if restored.former:
        lines.append(
            f"The former database stays as {restored.former}; drop it when it is not needed any more."
        )
    return "\n".join([*lines, describe_revoked(manifest.taken_at, restored.revoked)])
