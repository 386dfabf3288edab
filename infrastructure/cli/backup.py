"""``sspp backup``: the database, kept where it can be restored from."""

from typing import Annotated

import typer

from common.clock import system_clock
from common.database.connections import translated_errors
from infrastructure.backup.catalogue import every_backup, prune, was_drilled
from infrastructure.backup.manifest import Manifest
from infrastructure.backup.revocations import keep_revocations
from infrastructure.backup.taking import take_backup
from infrastructure.cli.console import AsJson, DatabaseEnvFile, database, database_url, show
from infrastructure.cli.safekeeping import Quiet, exit_codes, run_reported
from infrastructure.safekeeping.errors import UnusableBackupError
from infrastructure.safekeeping.progress import Steps
from infrastructure.safekeeping.settings import BackupSettings, load_backup_settings
from infrastructure.safekeeping.stores import Store, open_store

StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help="A folder or s3://bucket/prefix.", show_default="SSPP_BACKUP_URL"
    ),
]


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
                known = keep_revocations(connection, open_store(settings, create=True), steps)
            count = len(known.tombstones) if known else 0
            typer.echo(f"Written down: {count} erased or suppressed customers.")
            return
        with run_reported(settings, "sspp_backup") as succeeded:
            kept, url = open_store(settings, create=True), database_url(env_file)
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
