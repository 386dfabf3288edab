"""``sspp seed``."""

import typer

from infrastructure.cli.console import database_url
from infrastructure.database.seed import seed as put_demo_data


def seed() -> None:
    """Put the demo tenant and its own event type in; what is there already stays.

    Needs DATABASE_URL.
    """
    put_demo_data(database_url())
    typer.echo(
        "The tenant demo is there. Make it a key with: sspp keys create demo --scope ingest --scope read"
    )
