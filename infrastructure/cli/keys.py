"""``sspp keys``: the API keys of tenants."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from common.clock import system_clock
from infrastructure.cli.console import AsJson, Command, Commands, DatabaseEnvFile, database, show
from infrastructure.database.keys import create_key, list_keys, revoke_key

keys = typer.Typer(cls=Commands, no_args_is_help=True, help="The API keys of tenants.")

Tenant = Annotated[str, typer.Argument(help="The tenant's slug.", metavar="TENANT")]


@keys.command(cls=Command)
def create(
    tenant: Tenant,
    scope: Annotated[list[str], typer.Option(help="ingest, read or admin; give it once for each.")],
    name: Annotated[str, typer.Option(help="What the key is for, in a word.")] = "",
    expires_in_days: Annotated[int | None, typer.Option(min=1, help="Never, if not given.")] = None,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Make an API key and print it, for the only time: it is the one line on stdout."""
    expires_at = None if expires_in_days is None else system_clock() + timedelta(days=expires_in_days)
    with database(env_file) as connection:
        secret = create_key(connection, tenant, name, scope, expires_at)
    typer.echo("Keep this key, it is not shown again:", err=True)
    typer.echo(secret)


@keys.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    as_json: AsJson = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """List API keys by their prefixes; the keys themselves are not stored."""
    with database(env_file) as connection:
        show([asdict(key) for key in list_keys(connection, tenant)], as_json=as_json)


@keys.command(cls=Command)
def revoke(
    tenant: Tenant,
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="The part of the key between sspp_ and the next _.")
    ],
    env_file: DatabaseEnvFile = None,
) -> None:
    """Make an API key invalid, for good."""
    with database(env_file) as connection:
        revoke_key(connection, tenant, prefix)
    typer.echo(f"revoked {prefix}")
