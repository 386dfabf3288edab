"""``sspp migrate``."""

from typing import Annotated

import typer

from infrastructure.cli.console import DatabaseEnvFile, database_url
from infrastructure.database.migrate import describe
from infrastructure.database.migrate import migrate as apply_migrations


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run; change nothing.")] = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Bring the database to the newest schema.

    May run any number of times, and on several machines at once.
    """
    typer.echo(describe(apply_migrations(database_url(env_file), dry_run=dry_run), dry_run=dry_run))
