"""``sspp seed``."""

import typer

from infrastructure.cli.console import DatabaseEnvFile, database_url
from infrastructure.database.seed import seed as put_demo_data


def seed(env_file: DatabaseEnvFile = None) -> None:
    """Put the demo tenant and its own event type in; what is there already stays."""
    put_demo_data(database_url(env_file))
    typer.echo(
        "The tenant demo is there. Make it a key with: sspp keys create demo --scope ingest --scope read"
    )
