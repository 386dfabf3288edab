"""``sspp reindex``: the search index made anew from PostgreSQL."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from common.search.generations import read_generations
from infrastructure.cli.console import DatabaseEnvFile, database, show
from infrastructure.cli.search_server import search
from infrastructure.search.rebuilds import claim_run, describe_rebuild, plan_rebuilds
from infrastructure.search.reindex import Reindexer
from infrastructure.search.reindex_progress import new_progress


def reindex(
    months: Annotated[
        list[datetime] | None,
        typer.Option(
            "--month",
            formats=["%Y-%m"],
            metavar="YYYY-MM",
            help="Rebuild only this month of received_at; repeat it for several. Default: what an interrupted run "
            "left, or else all months.",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1, help="Most documents a second, so that new events keep their share of the servers."
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew instead of continuing an interrupted run.")
    ] = False,
    abandon: Annotated[
        bool,
        typer.Option(
            "--abandon", help="Give up an interrupted run: delete what it built, and rebuild nothing."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be rebuilt; change nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Rebuild the search index from PostgreSQL, while events keep flowing.

    Each month gets a new index, which takes over once it is complete; until then the former one answers searches.
    May be interrupted at any time: run it again to continue.
    """
    if abandon and (restart or dry_run):
        raise typer.BadParameter("--abandon goes with --month only")
    chosen = [month.date() for month in months or ()]
    try:
        with (
            database(env_file) as connection,
            search(env_file) as client,
            new_progress(quiet=quiet) as progress,
        ):
            if dry_run:
                plan = plan_rebuilds(connection, chosen, restart=restart)
                show([describe_rebuild(client, each) for each in plan], as_json=False)
                return
            claim_run(connection)
            reindexer = Reindexer(connection, client, progress, rate=rate)
            if abandon:
                report = _abandoned(reindexer.abandon(chosen))
            else:
                started = time.monotonic()
                plan = plan_rebuilds(connection, chosen, restart=restart)
                copied = reindexer.run(plan)
                report = (
                    f"Rebuilt {len(plan)} {_months(plan)}: "
                    f"{copied:,} documents copied in {time.monotonic() - started:.0f} s."
                )
            left = read_generations(connection).rebuilding()
    except KeyboardInterrupt:
        typer.echo(
            "Interrupted. Search is as it was; continue with: sspp reindex, or give it up with --abandon.",
            err=True,
        )
        raise typer.Exit(130) from None
    typer.echo(report)
    if left:
        named = ", ".join(f"{indices.month:%Y-%m}" for indices in left)
        typer.echo(f"An interrupted run left {named}; continue it with: sspp reindex", err=True)


def _abandoned(months: Sequence[object]) -> str:
    return (
        f"Gave up the rebuild of {len(months)} {_months(months)}." if months else "No rebuild was under way."
    )


def _months(counted: Sequence[object]) -> str:
    return "month" if len(counted) == 1 else "months"
