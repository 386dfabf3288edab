"""``sspp migrate``."""

from typing import Annotated

import typer

from infrastructure.cli.console import database_url
from infrastructure.database.migrate import describe
from infrastructure.database.migrate import migrate as apply_migrations


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run; change nothing.")] = False,
) -> None:
    """Bring the database to the newest schema.

    Needs DATABASE_URL. May run any number of times, and on several machines at once.
    """
    typer.echo(describe(apply_migrations(database_url(), dry_run=dry_run), dry_run=dry_run))
