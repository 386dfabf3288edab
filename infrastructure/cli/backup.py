"""``sspp backup``: the database, kept where it can be restored from."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from common.clock import system_clock
from common.database.connections import translated_errors
from infrastructure.backup.catalogue import every_backup, prune, was_drilled
from infrastructure.backup.errors import BackupError, UnusableBackupError
from infrastructure.backup.manifest import Manifest
from infrastructure.backup.progress import Steps
from infrastructure.backup.report import report
from infrastructure.backup.revocations import keep_revocations
from infrastructure.backup.settings import BackupSettings, load_backup_settings
from infrastructure.backup.stores import Store, open_store
from infrastructure.backup.taking import take_backup
from infrastructure.cli.console import AsJson, DatabaseEnvFile, database, database_url, show

StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help="A folder or s3://bucket/prefix.", show_default="SSPP_BACKUP_URL"
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def backup(
    store: StoreUrl = None,
    keep_days: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Delete backups that are older, but never the last good one.",
            show_default="SSPP_BACKUP_KEEP_DAYS",
        ),
    ] = None,
    only_revocations: Annotated[
        bool,
        typer.Option(
            "--only-revocations",
            help="Only write down who was erased and which keys were revoked, so that no restore undoes it. Takes a "
            "moment: run it every few minutes.",
        ),
    ] = False,
    only_list: Annotated[bool, typer.Option("--list", help="List what there is; back nothing up.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Back the database up, while the platform runs, and delete backups that are too old.

    The search index is not in it: a restore builds it from the database.
    Exit codes: 0 done, 1 failed, 2 wrong use, 11 pg_dump is too old,
    130 interrupted; with --list, the manifest of one is 7 damaged, 8 of a
    newer version.
    """
    settings = settings_for(store)
    steps = Steps(quiet=quiet)
    with exit_codes():
        if only_list:
            kept = open_store(settings)
            _list(kept, as_json=as_json)
            return
        if only_revocations:
            with database(env_file) as connection:
                known = keep_revocations(connection, open_store(settings), steps)
            count = len(known.tombstones) if known else 0
            typer.echo(f"Written down: {count} erased or suppressed customers.")
            return
        with run_reported(settings, "sspp_backup") as succeeded:
            kept, url = open_store(settings), database_url(env_file)
            with translated_errors():
                manifest = take_backup(url, kept, settings, steps)
                with database(env_file) as connection:
                    keep_revocations(connection, kept, steps)
            succeeded(
                {
                    "last_success_timestamp_seconds": manifest.taken_at.timestamp(),
                    "size_bytes": manifest.size,
                    "rows": manifest.rows,
                    "newest_event_timestamp_seconds": manifest.newest_event.timestamp()
                    if manifest.newest_event
                    else 0,
                }
            )
            pruned = prune(kept, now=system_clock(), keep_days=keep_days or settings.keep_days)
    if as_json:
        show([_row(manifest.name, manifest, drilled=False)], as_json=True)
        return
    typer.echo(f"Kept {manifest.name}: {manifest.rows:,} rows in {manifest.size:,} bytes.")
    if pruned.deleted:
        typer.echo(f"Deleted, as too old: {', '.join(pruned.deleted)}.")


def settings_for(store: str | None) -> BackupSettings:
    """The settings of the environment, with another store if one is given.

    Raises:
        SettingsError: a value is out of range.
    """
    settings = load_backup_settings()
    return settings.model_copy(update={"url": store}) if store else settings


@contextmanager
def exit_codes(
    interrupted: str = "Interrupted. No backup was made, and no database was replaced.",
) -> Iterator[None]:
    """End the command with the exit code of what is wrong with a backup, and a line that says it.

    A command that is told to stop, by Ctrl-C or SIGTERM, cleans up first, and says so by `interrupted`.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except BackupError as error:
        typer.echo(f"sspp: {error.detail} [{error.code}]", err=True)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        typer.echo(interrupted, err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def run_reported(settings: BackupSettings, job: str) -> Iterator[Callable[[dict[str, float]], None]]:
    """Tell Prometheus how the run ended; and, by what is yielded, what its success amounts to."""
    started, success = time.monotonic(), 0.0
    try:
        yield lambda values: report(settings, job, "success", values)
        success = 1.0
    finally:
        report(
            settings,
            job,
            "run",
            {
                "last_run_timestamp_seconds": time.time(),
                "last_run_success": success,
                "last_run_duration_seconds": time.monotonic() - started,
            },
        )


def _list(store: Store, *, as_json: bool) -> None:
    """Show all backups, those with a damaged manifest too.

    Raises:
        UnusableBackupError: the manifest of one, the newest such, is damaged or of a newer release.
    """
    found = every_backup(store)
    show(
        [
            _row(name, each, drilled=isinstance(each, Manifest) and was_drilled(store, each))
            for name, each in found.items()
        ],
        as_json=as_json,
    )
    for each in found.values():
        if isinstance(each, UnusableBackupError):
            raise each


def _row(name: str, backup: Manifest | UnusableBackupError, *, drilled: bool) -> dict[str, object]:
    known = backup if isinstance(backup, Manifest) else None
    return {
        "name": name,
        "taken_at": known and known.taken_at,
        "rows": known and known.rows,
        "bytes": known and known.size,
        "newest_event": known and known.newest_event,
        "schema": known and known.schema_version,
        "postgresql": known and known.server_version // 10_000,
        "encryption": known and known.encryption,
        "drilled": drilled,
        "problem": None if isinstance(backup, Manifest) else backup.detail,
    }
