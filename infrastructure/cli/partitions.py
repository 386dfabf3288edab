"""``sspp partitions``: the monthly partitions of events, signals and the log of API calls."""

from dataclasses import asdict
from typing import Annotated

import typer

from common.clock import system_clock
from common.database.partitions import default_rows, drop_expired, ensure_partitions, list_partitions
from infrastructure.cli.console import AsJson, Commands, DatabaseEnvFile, database, show

partitions = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="The monthly partitions of events, signals and the log of API calls.",
)


@partitions.command("list")
def list_(as_json: AsJson = False, env_file: DatabaseEnvFile = None) -> None:
    """List the partitions with their months, estimated rows and sizes in bytes."""
    with database(env_file) as connection:
        show([asdict(partition) for partition in list_partitions(connection)], as_json=as_json)
        strays = {table: count for table, count in default_rows(connection).items() if count}
    for table, count in strays.items():
        typer.echo(
            f"{table}_default holds {count} rows; move them to partitions with: sspp partitions ensure",
            err=True,
        )


@partitions.command()
def ensure(
    ahead: Annotated[
        int, typer.Option(min=1, max=120, envvar="SSPP_PARTITIONS_AHEAD", help="How many months ahead.")
    ] = 3,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Make the partitions of the coming months, and empty DEFAULT into those that it has rows of."""
    with database(env_file) as connection:
        created = ensure_partitions(connection, now=system_clock(), ahead=ahead)
    typer.echo("\n".join(f"created {name}" for name in created) or "All partitions exist.")


@partitions.command()
def drop(
    keep_months: Annotated[
        int, typer.Option(min=1, help="How many full months to keep, besides the current one.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Drop the events, signals and logged API calls of older months, for good, and what was refused then.

    What customers add up to stays. Upkeep does the same by itself if SSPP_RETENTION_MONTHS is set, and
    deletes row by row what single tenants keep for less time (sspp tenants change --retention-days).
    """
    if not yes:
        typer.confirm(
            f"Delete all events, signals and logged API calls but those of the last {keep_months} months?",
            abort=True,
        )
    with database(env_file) as connection:
        expired = drop_expired(connection, now=system_clock(), retention_months=keep_months)
    for name in expired.partitions:
        typer.echo(f"dropped {name}")
    for table, count in expired.rows.items():
        typer.echo(f"deleted {count} rows of {table}")
