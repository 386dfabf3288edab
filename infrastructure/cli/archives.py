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
from infrastructure.archive.lines import check as check_lines
from infrastructure.archive.lines import unpack
from infrastructure.archive.manifest import archive_names, list_archives, read_manifest
from infrastructure.backup.progress import Steps
from infrastructure.backup.stores import Store, open_store
from infrastructure.cli.backup import Quiet, exit_codes
from infrastructure.cli.console import AsJson, Command, Commands, DatabaseEnvFile, database, show
from infrastructure.cli.partitions import INTERRUPTED, ArchiveUrl, archive_settings

archives = typer.Typer(
    cls=Commands, no_args_is_help=True, help="What was archived of partitions that were dropped."
)
Name = Annotated[str, typer.Argument(metavar="ARCHIVE", help="As sspp archives list names it.")]


@archives.command("list")
def list_(archive: ArchiveUrl = "", as_json: AsJson = False) -> None:
    """List the archives: months, rows, bytes, when they were made."""
    with exit_codes():
        found = list_archives(_store(archive))
        columns = ("name", "table", "starts", "ends", "archived_at")
        show(
            [
                {name: getattr(each, name) for name in columns}
                | {"rows": each.content.lines, "bytes": each.content.size, "object": each.content.name}
                for each in found
            ],
            as_json=as_json,
        )


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

    Run it daily. Archives in which nobody is to be forgotten since the last time are not read.
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
    """Delete the archives of older months, for good."""
    if before is None and not older_than:
        raise typer.BadParameter("say which months: --older-than MONTHS or --before DATE")
    cutoff = before.replace(tzinfo=UTC) if before else month_start(system_clock(), -older_than)
    with exit_codes():
        if not yes:
            typer.confirm(
                f"Delete the archives of all months before {cutoff:%Y-%m-%d}, for good?", abort=True
            )
        for name in prune_archives(_store(archive), cutoff):
            typer.echo(f"deleted {name}")


def _store(url: str) -> Store:
    if not url:
        raise SettingsError(
            "where are archives kept? Set SSPP_ARCHIVE_URL to a folder or to s3://bucket/prefix, or give --archive"
        )
    return open_store(archive_settings(url))
