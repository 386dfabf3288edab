"""``sspp tenants``: the companies whose events the platform takes in."""

from dataclasses import asdict
from typing import Annotated

import typer

from infrastructure.cli.console import AsJson, Command, Commands, DatabaseEnvFile, database, show
from infrastructure.database.tenants import create_tenant, list_tenants

tenants = typer.Typer(
    cls=Commands, no_args_is_help=True, help="The companies whose events the platform takes in."
)


@tenants.command("list")
def list_(as_json: AsJson = False, env_file: DatabaseEnvFile = None) -> None:
    """List the tenants; tenant 0 is the platform itself."""
    with database(env_file) as connection:
        show([asdict(tenant) for tenant in list_tenants(connection)], as_json=as_json)


@tenants.command(cls=Command)
def create(
    slug: Annotated[
        str,
        typer.Argument(metavar="SLUG", help="Its name for machines: small letters, digits and hyphens."),
    ],
    name: Annotated[str | None, typer.Option(help="Its name for people; the slug, if not given.")] = None,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Make a tenant."""
    with database(env_file) as connection:
        tenant = create_tenant(connection, slug, name or slug)
    typer.echo(f"created tenant {tenant.slug} ({tenant.tenant_id})")
