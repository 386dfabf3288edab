"""``sspp archives``: what was archived of partitions that were dropped."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from common.clock import system_clock
from common.database.partitions import month_start
from common.errors import SettingsError
from infrastructure.archive.dropping import archiving_alone
from infrastructure.archive.erasing import erase_from_archives, prune_archives
from infrastructure.archive.errors import DamagedArchiveError
from infrastructure.archive.lines import check as check_lines
from infrastructure.archive.lines import unpack
from infrastructure.archive.manifest import (
    Archive,
    archive_names,
    every_archive,
    read_manifest,
    require_sound,
)
from infrastructure.cli.console import AsJson, Command, Commands, DatabaseEnvFile, database, show
from infrastructure.cli.partitions import INTERRUPTED, ArchiveUrl, archive_settings
from infrastructure.cli.safekeeping import Quiet, exit_codes
from infrastructure.safekeeping.progress import Steps
from infrastructure.safekeeping.stores import Store, open_store

archives = typer.Typer(
    cls=Commands, no_args_is_help=True, help="What was archived of partitions that were dropped."
)
Name = Annotated[str, typer.Argument(metavar="ARCHIVE", help="As sspp archives list names it.")]


@archives.command("list")
def list_(archive: ArchiveUrl = "", as_json: AsJson = False) -> None:
    """List the archives: months, rows, bytes, when they were made. Exit code 3 if the manifest of one is damaged."""
    with exit_codes():
        found = every_archive(_store(archive))
        show([_row(name, each) for name, each in found.items()], as_json=as_json)
        require_sound(found.values())


@archives.command()
def check(archive: ArchiveUrl = "", quiet: Quiet = False) -> None:
    """Read every archive, and compare it with its manifest. Exit code 3 if one is damaged."""
    with exit_codes():
        store, steps = _store(archive), Steps(quiet=quiet)
        names = archive_names(store)
        for name in names:
            content = read_manifest(store, name).content
            with steps.step(f"reading {name}", content.lines, "rows") as advance:
                check_lines(store, content, advance)
    typer.echo(f"{len(names)} archives are what was written.")


@archives.command(cls=Command)
def read(name: Name, archive: ArchiveUrl = "") -> None:
    """Write the rows of an archive to stdout, a JSON object a line. Exit code 3 if it is damaged."""
    with exit_codes("Interrupted."):
        store = _store(archive)
        for line in unpack(store, read_manifest(store, name).content):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


@archives.command()
def erase(
    archive: ArchiveUrl = "", quiet: Quiet = False, as_json: AsJson = False, env_file: DatabaseEnvFile = None
) -> None:
    """Take erased customers out of the archives, and tenants that are deleted or whose own retention has passed.

    Run it daily. Archives in which nobody is to be forgotten since the last time are not read. Exit code 3 if one is
    damaged: whoever is to be forgotten may still be in it.
    """
    with exit_codes(INTERRUPTED), database(env_file) as connection, archiving_alone(connection):
        store, steps = _store(archive), Steps(quiet=quiet)
        erased = erase_from_archives(connection, store, steps, now=system_clock())
    if as_json:
        show([asdict(each) for each in erased], as_json=True)
        return
    for each in erased:
        typer.echo(f"took {each.rows:,} rows out of {each.archive}")
    if not erased:
        typer.echo("Nobody is to be forgotten.")


@archives.command()
def prune(
    before: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m"], help="Months that ended by then, in UTC."),
    ] = None,
    older_than: Annotated[int, typer.Option(min=0, help="How many full months to keep.")] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    archive: ArchiveUrl = "",
) -> None:
    """Delete the archives of older months, for good. Exit code 3 if one stays since its manifest is damaged."""
    if before is not None and older_than:
        raise typer.BadParameter("say which months by one of them: --older-than or --before")
    if before is None and not older_than:
        raise typer.BadParameter("say which months: --older-than MONTHS or --before DATE")
    cutoff = before.replace(tzinfo=UTC) if before else month_start(system_clock(), -older_than)
    with exit_codes():
        if not yes:
            typer.confirm(
                f"Delete the archives of all months before {cutoff:%Y-%m-%d}, for good?", abort=True
            )
        store = _store(archive)
        for name in prune_archives(store, cutoff):
            typer.echo(f"deleted {name}")
        require_sound(every_archive(store).values())


def _row(name: str, archive: Archive | DamagedArchiveError) -> dict[str, object]:
    columns = ("table", "starts", "ends", "archived_at", "rows", "bytes", "object")
    if isinstance(archive, DamagedArchiveError):
        return {"name": name, **dict.fromkeys(columns), "problem": archive.detail}
    content = archive.content
    values = (archive.table, archive.starts, archive.ends, archive.archived_at)
    return {
        "name": name,
        **dict(zip(columns, (*values, content.lines, content.size, content.name), strict=True)),
        "problem": None,
    }


def _store(url: str) -> Store:
    if not url:
        raise SettingsError(
            "where are archives kept? Set SSPP_ARCHIVE_URL to a folder or to s3://bucket/prefix, or give --archive"
        )
    return open_store(archive_settings(url))
