"""``sspp partitions``: the monthly partitions of events, signals and the log of API calls."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from common.clock import system_clock
from common.database.partitions import (
    Partition,
    default_rows,
    ensure_partitions,
    missing_partitions,
    month_start,
    partitions_before,
)
from infrastructure.archive.dropping import Dropped, drop_months, require_expired
from infrastructure.archive.errors import DamagedArchiveError
from infrastructure.archive.keeping import Keeper
from infrastructure.archive.manifest import Archive, every_archive
from infrastructure.archive.overview import list_states
from infrastructure.cli.console import AsJson, Commands, DatabaseEnvFile, database, database_url, show
from infrastructure.cli.safekeeping import Quiet, exit_codes, run_reported
from infrastructure.database.connections import Connection
from infrastructure.safekeeping.errors import NoStoreError
from infrastructure.safekeeping.progress import Steps
from infrastructure.safekeeping.settings import BackupSettings, load_backup_settings
from infrastructure.safekeeping.stores import open_store

partitions = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="The monthly partitions of events, signals and the log of API calls.",
)

ArchiveUrl = Annotated[
    str,
    typer.Option(
        "--archive",
        metavar="URL",
        envvar="SSPP_ARCHIVE_URL",
        help="Where archives are kept: a folder or s3://bucket/prefix.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
INTERRUPTED = "Interrupted. No partition was dropped that is not archived; run it again to go on."


@partitions.command("list")
def list_(archive: ArchiveUrl = "", as_json: AsJson = False, env_file: DatabaseEnvFile = None) -> None:
    """List the partitions with their months, rows (~: estimated), bytes, indexes, and whether they are archived."""
    with exit_codes(), database(env_file) as connection:
        found = _archives(archive)
        sound = [each for each in found if isinstance(each, Archive)]
        states = list_states(connection, sound if archive else None)
        show([_listed(asdict(state), as_json=as_json) for state in states], as_json=as_json)
    for each in found:
        if isinstance(each, DamagedArchiveError):
            _say(f"{each.detail}; it does not count as archived")
    for state in states:
        if state.starts is None and state.rows:
            _say(
                f"{state.name} holds {state.rows:,} rows; move them to partitions with: sspp partitions create"
            )


def _archives(url: str) -> Collection[Archive | DamagedArchiveError]:
    """All that are kept at `url`: none where nobody has kept any yet, which is said."""
    if not url:
        return ()
    try:
        return every_archive(open_store(archive_settings(url))).values()
    except NoStoreError as error:
        _say(f"nothing is archived: {error.detail}")
        return ()


@partitions.command()
def create(
    ahead: Annotated[
        int, typer.Option(min=1, max=120, envvar="SSPP_PARTITIONS_AHEAD", help="How many months ahead.")
    ] = 3,
    dry_run: DryRun = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Make the partitions of the coming months, and empty DEFAULT into those that it has rows of.

    Does nothing if they exist. Workers go on meanwhile; any number of these may run at once.
    """
    with database(env_file) as connection:
        if dry_run:
            missing = missing_partitions(connection, now=system_clock(), ahead=ahead)
            lines = [f"would create {table}_{month:%Y_%m}" for table, month in missing]
        else:
            lines = [
                f"created {name}" for name in ensure_partitions(connection, now=system_clock(), ahead=ahead)
            ]
        strays = {} if dry_run else {table: rows for table, rows in default_rows(connection).items() if rows}
    typer.echo("\n".join(lines) or "All partitions exist.")
    for table, rows in strays.items():
        _say(
            f"{table}_default still holds {rows:,} rows: a table has the name of their partition, and is none. "
            f"Rename it, or attach it: ALTER TABLE {table} ATTACH PARTITION …; then run this again"
        )
    if strays:
        raise typer.Exit(1)


# What it was called before.
partitions.command("ensure", hidden=True)(create)


@partitions.command()
def drop(
    context: typer.Context,
    *,
    older_than: Annotated[
        int | None,
        typer.Option(
            "--older-than",
            "--keep-months",
            min=1,
            help="How many full months to keep, besides the current one.",
            show_default="SSPP_RETENTION_MONTHS",
        ),
    ] = None,
    before: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m"], help="Drop the months that ended by then, in UTC."),
    ] = None,
    retention: Annotated[
        int, typer.Option("--retention-months", min=0, envvar="SSPP_RETENTION_MONTHS", hidden=True)
    ] = 0,
    archive: ArchiveUrl = "",
    no_archive: Annotated[bool, typer.Option("--no-archive", help="Drop without archiving.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Drop also what somebody's retention still keeps.")
    ] = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Drop the events, signals and logged API calls of older months, for good, and what was refused then.

    With --archive each partition is written to the archive and read back first. What customers add up to stays, and
    so do the documents in search, until upkeep or sspp verify --repair comes by. Upkeep drops by itself if
    SSPP_RETENTION_MONTHS is set and SSPP_ARCHIVE_URL is not.

    Exit codes: 0 done, 1 failed, 2 wrong use, 3 an archive cannot be read back, 4 refused: somebody keeps it.
    """
    months = older_than or retention
    if before and older_than:
        raise typer.BadParameter("say which months by one of them: --older-than or --before")
    if no_archive and _is_typed(context, "archive"):
        raise typer.BadParameter(
            "--archive and --no-archive contradict each other: give one of them. (--no-archive alone drops without "
            "archiving though SSPP_ARCHIVE_URL is set)"
        )
    if before is None and not months:
        raise typer.BadParameter("say which months: --older-than MONTHS or --before DATE")
    now = system_clock()
    cutoff = month_start(before.replace(tzinfo=UTC)) if before else month_start(now, -months)
    if cutoff > month_start(now):
        raise typer.BadParameter(f"months from {now:%Y-%m} on are in use", param_hint="--before")
    url = "" if no_archive else archive
    with exit_codes(INTERRUPTED), database(env_file) as connection:
        doomed = partitions_before(connection, cutoff)
        if not force:
            require_expired(connection, doomed, now=now, retention_months=retention)
        if dry_run:
            show([_listed(_row(each, url), as_json=as_json) for each in doomed], as_json=as_json)
            return
        if not yes:
            fate = f"archive to {url} and delete" if url else "delete, for good,"
            typer.confirm(
                f"Do you want to {fate} all events, signals and logged API calls before {cutoff:%Y-%m-%d} "
                f"({len(doomed)} partitions)?",
                abort=True,
            )
        dropped = Dropped()
        try:
            _drop(dropped, connection, url, now, cutoff, Steps(quiet=quiet), env_file)
        finally:
            # If it failed, too: partitions before the one that could not be archived are gone.
            _show_dropped(dropped, as_json=as_json)


def _is_typed(context: typer.Context, parameter: str) -> bool:
    """Whether it stands on the command line, and does not come from the environment."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def archive_settings(url: str) -> BackupSettings:
    """The settings of backups, and with them those of a bucket, for archives at `url`.

    Raises:
        SettingsError: a value is out of range.
    """
    return load_backup_settings().model_copy(update={"url": url})


def _drop(
    dropped: Dropped,
    connection: Connection,
    url: str,
    now: datetime,
    cutoff: datetime,
    steps: Steps,
    env_file: Path | None,
) -> None:
    if not url:
        drop_months(connection, dropped, now=now, cutoff=cutoff)
        return
    settings = archive_settings(url)
    with run_reported(settings, "sspp_archive") as succeeded:
        keeper = Keeper(connection, database_url(env_file), open_store(settings, create=True), steps)
        drop_months(connection, dropped, now=now, cutoff=cutoff, keeper=keeper)
        kept = [archive for archive in dropped.partitions.values() if archive]
        succeeded(
            {
                "last_success_timestamp_seconds": now.timestamp(),
                "rows": sum(archive.content.lines for archive in kept),
                "size_bytes": sum(archive.content.size for archive in kept),
            }
        )


def _row(partition: Partition, url: str) -> dict[str, object]:
    return {
        "name": partition.name,
        "starts": partition.starts,
        "ends": partition.ends,
        "rows": partition.row_estimate,
        "rows_estimated": True,
        "bytes": partition.size_bytes,
        "archive": url or None,
    }


def _listed(row: dict[str, Any], *, as_json: bool) -> dict[str, object]:
    """For people, whether rows were counted or estimated is to be seen at the number itself."""
    if as_json:
        return row
    mark = "~" if row["rows_estimated"] else ""
    rows = "not counted yet" if row["rows"] is None else f"{mark}{row['rows']:,}"
    return {name: rows if name == "rows" else row[name] for name in row if name != "rows_estimated"}


def _show_dropped(dropped: Dropped, *, as_json: bool) -> None:
    if as_json:
        show(
            [
                {"name": name, "archive": archive and archive.name, "rows": archive and archive.content.lines}
                for name, archive in dropped.partitions.items()
            ],
            as_json=True,
        )
        return
    for name, archive in dropped.partitions.items():
        kept = f", archived as {archive.name}: {archive.content.lines:,} rows" if archive else ""
        typer.echo(f"dropped {name}{kept}")
    for table, count in dropped.rows.items():
        typer.echo(f"deleted {count} rows of {table}")


def _say(message: str) -> None:
    typer.echo(message, err=True)
