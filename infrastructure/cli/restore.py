"""``sspp restore``: a backup in the place of the database, or a drill that proves that it could be."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from elasticsearch import Elasticsearch

from common.clock import rfc3339, system_clock
from common.database.connections import translated_errors
from common.errors import SearchUnavailableError
from infrastructure.backup.catalogue import fetch_dump, find_backup, note_drill
from infrastructure.backup.encryption import decrypt
from infrastructure.backup.errors import RevocationsUnknownError
from infrastructure.backup.index import check_search, rebuild_index
from infrastructure.backup.restoring import Restorer, describe
from infrastructure.backup.revocations import Applied
from infrastructure.backup.settling import describe as describe_revoked
from infrastructure.backup.settling import settle_recovered
from infrastructure.cli.backup import StoreUrl, settings_for
from infrastructure.cli.console import DatabaseEnvFile, database, database_url
from infrastructure.cli.safekeeping import Quiet, exit_codes, run_reported
from infrastructure.cli.search_server import search
from infrastructure.safekeeping.errors import UnusableBackupError
from infrastructure.safekeeping.progress import Steps
from infrastructure.safekeeping.settings import BackupSettings
from infrastructure.safekeeping.stores import Store, open_store
from infrastructure.search.reindex_progress import new_progress


def restore(
    name: Annotated[
        str | None,
        typer.Argument(metavar="BACKUP", help="As `sspp backup --list` names it.", show_default="the newest"),
    ] = None,
    *,
    store: StoreUrl = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a database that holds data. It stays under another name."),
    ] = False,
    no_index: Annotated[
        bool,
        typer.Option("--no-index", help="Leave the search index alone; rebuild it later with: sspp reindex"),
    ] = False,
    drill: Annotated[
        bool,
        typer.Option(
            "--drill",
            help="Only prove it: restore into a database of its own, compare, drop it, export metrics.",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Only read the backup, compare it with its manifest, and decrypt it if there is a key; no database.",
        ),
    ] = False,
    after_recovery: Annotated[
        bool,
        typer.Option(
            "--after-recovery",
            help="Load nothing: only do, for a database that was recovered to a point in time, what follows.",
        ),
    ] = False,
    max_age_hours: Annotated[
        float | None,
        typer.Option(min=0.001, help="With --drill: fail if the newest backup is older than that."),
    ] = None,
    quiet: Quiet = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Restore a backup: verify it, load it beside the live database, compare, migrate, swap, rebuild the index.

    Stop the API and the workers before. Who was erased since the backup
    stays erased, as far as that is known. Exit codes: 0 done, 1 failed,
    2 wrong use, 3 there is no such backup (or with --drill an old one), 4
    refused since the database holds data; the backup is 5 empty, 6 cut off,
    7 damaged, 8 of a newer version, 9 encrypted for others, 10 restored to
    something else; 11 pg_restore is too old; 12 it is restored, but who was
    erased since is not known; 130 interrupted.
    """
    if drill + check + overwrite + after_recovery > 1 or (max_age_hours and not drill):
        raise typer.BadParameter(
            "--drill, --check, --after-recovery and --overwrite exclude each other; --max-age-hours is for --drill"
        )
    settings = settings_for(store)
    steps = Steps(quiet=quiet)
    with exit_codes(), translated_errors():
        kept = open_store(settings)
        if check:
            _check(kept, settings, steps, name)
        elif drill:
            _drill(kept, settings, steps, name, max_age_hours, database_url(env_file))
        elif after_recovery:
            _settle(kept, steps, index=not no_index, quiet=quiet, env_file=env_file)
        else:
            _restore(
                kept,
                settings,
                steps,
                name,
                overwrite=overwrite,
                index=not no_index,
                quiet=quiet,
                env_file=env_file,
            )


def _check(store: Store, settings: BackupSettings, steps: Steps, name: str | None) -> None:
    manifest = find_backup(store, name)
    with store.staging() as staging:
        with steps.step("reading it", manifest.size, "bytes") as advance:
            dump = fetch_dump(store, manifest, staging, advance)
        if manifest.encryption and settings.identity_file:
            with steps.step("decrypting it"):
                decrypt(dump, Path(os.devnull), settings.identity_file)
    typer.echo(f"{manifest.name} is whole: {manifest.size:,} bytes, as they were written.")
    if manifest.encryption and settings.identity_file:
        typer.echo("It is encrypted, and the key opens it to its end.")
    elif manifest.encryption:
        typer.echo(
            "NOT OPENED: it is encrypted, and no key was given, so that only the checksum of the encrypted file was "
            "compared. To try a key, name its file in SSPP_BACKUP_AGE_IDENTITY_FILE."
        )


def _drill(
    store: Store,
    settings: BackupSettings,
    steps: Steps,
    name: str | None,
    max_age_hours: float | None,
    url: str,
) -> None:
    with run_reported(settings, "sspp_restore_drill") as succeeded:
        manifest = find_backup(store, name)
        url = settings.drill_database_url.get_secret_value() or url
        Restorer(url, store, settings, steps).drill(manifest)
        now = system_clock()
        note_drill(store, manifest, now)
        if max_age_hours and manifest.taken_at < now - timedelta(hours=max_age_hours):
            raise UnusableBackupError(
                f"{manifest.name} can be restored, but it is of {rfc3339(manifest.taken_at)}: older than "
                f"{max_age_hours:g} hours. Look after the job that takes backups"
            )
        succeeded(
            {
                "last_success_timestamp_seconds": now.timestamp(),
                "backup_timestamp_seconds": manifest.taken_at.timestamp(),
            }
        )
    typer.echo(f"{manifest.name} restores: {manifest.rows:,} rows, all counts and checksums equal.")


def _restore(
    store: Store,
    settings: BackupSettings,
    steps: Steps,
    name: str | None,
    *,
    overwrite: bool,
    index: bool,
    quiet: bool,
    env_file: DatabaseEnvFile,
) -> None:
    with _searching(index=index, quiet=quiet, env_file=env_file) as client:
        manifest = find_backup(store, name)
        restorer = Restorer(database_url(env_file), store, settings, steps)
        restored = restorer.restore(manifest, overwrite=overwrite, search=client)
        typer.echo(describe(restored))
    _require_known(restored.revoked, manifest.taken_at)


def _settle(store: Store, steps: Steps, *, index: bool, quiet: bool, env_file: DatabaseEnvFile) -> None:
    with _searching(index=index, quiet=quiet, env_file=env_file) as client:
        since, revoked = settle_recovered(database_url(env_file), store, steps, client)
        typer.echo(describe_revoked(since, revoked))
    _require_known(revoked, since)


def _require_known(revoked: Applied | None, since: datetime) -> None:
    """At the very end: whatever starts the platform next must not do so as if nothing were to be done."""
    if revoked is None:
        raise RevocationsUnknownError(
            f"the database is restored, but what was revoked after {rfc3339(since)} is not known: let nobody in before "
            "you have erased, suppressed and revoked it again"
        )


@contextmanager
def _searching(*, index: bool, quiet: bool, env_file: DatabaseEnvFile) -> Iterator[Elasticsearch | None]:
    """The search server, which answers, while the database is restored; then its index is rebuilt."""
    with ExitStack() as stack:
        client = stack.enter_context(search(env_file)) if index else None
        if client is not None:
            try:
                check_search(client)
            except SearchUnavailableError as error:
                raise SearchUnavailableError(
                    f"{error.detail} Nothing was changed. With --no-index the database is restored without it"
                ) from error
        yield client
        if client is None:
            typer.echo("The index is as it was. Rebuild it with: sspp reindex && sspp verify --repair")
            return
        try:
            with database(env_file) as connection, new_progress(quiet=quiet) as progress:
                copied = rebuild_index(connection, client, progress)
        except KeyboardInterrupt:
            typer.echo(
                "Interrupted. The database is restored, the index is not rebuilt: sspp reindex && sspp verify --repair",
                err=True,
            )
            raise typer.Exit(130) from None
        typer.echo(f"The index is rebuilt: {copied:,} documents copied.")
