"""``sspp keys``: the API keys of tenants."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from common.clock import system_clock
from common.tenancy.keys import MOST_DAYS, create_key, list_keys, revoke_key, rotate_key
from infrastructure.cli.console import AsJson, Command, Commands, DatabaseEnvFile, database, show

keys = typer.Typer(cls=Commands, no_args_is_help=True, help="The API keys of tenants.")

Tenant = Annotated[str, typer.Argument(help="The tenant's slug.", metavar="TENANT")]
Prefix = Annotated[
    str, typer.Argument(metavar="PREFIX", help="What stands between the key's kind and its last _.")
]


@keys.command(cls=Command)
def create(
    tenant: Tenant,
    scope: Annotated[
        list[str],
        typer.Option(
            help="ingest, read, tenant_admin or, for the platform's own tenant, admin; give it once for each."
        ),
    ],
    name: Annotated[str, typer.Option(help="What the key is for, in a word.")] = "",
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=MOST_DAYS, help="Never, if not given.")
    ] = None,
    publishable: Annotated[
        bool,
        typer.Option("--publishable", help="For web pages: everybody can read it, it only sends events."),
    ] = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Make an API key and print it, for the only time: it is the one line on stdout."""
    expires_at = None if expires_in_days is None else system_clock() + timedelta(days=expires_in_days)
    with database(env_file) as connection:
        kind = "publishable" if publishable else "secret"
        secret = create_key(connection, tenant, name, scope, expires_at, kind)  # type: ignore[arg-type]
    _tell(secret)


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
def rotate(
    tenant: Tenant,
    prefix: Prefix,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=24 * 365, help="For how long the old key still works.")
    ] = 24,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Make a key like an old one and print it, for the only time; the old one expires after the overlap."""
    with database(env_file) as connection:
        secret = rotate_key(connection, tenant, prefix, timedelta(hours=overlap_hours))
    typer.echo(f"{prefix} works for {overlap_hours:g} more hours", err=True)
    _tell(secret)


@keys.command(cls=Command)
def revoke(tenant: Tenant, prefix: Prefix, env_file: DatabaseEnvFile = None) -> None:
    """Make an API key invalid, for good; every process knows within 2 seconds."""
    with database(env_file) as connection:
        revoke_key(connection, tenant, prefix)
    typer.echo(f"revoked {prefix}")


def _tell(secret: str) -> None:
    typer.echo("Keep this key, it is not shown again:", err=True)
    typer.echo(secret)
