"""``sspp tenants``: the companies whose events the platform takes in."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from common.clock import system_clock
from common.tenancy.tenants import (
    MOST_RETENTION_DAYS,
    Plan,
    change_tenant,
    create_tenant,
    find_tenant,
    list_tenants,
    set_status,
)
from common.tenancy.usage import events_this_month
from infrastructure.cli.console import AsJson, Command, Commands, DatabaseEnvFile, database, show
from infrastructure.database.usage import recount as recount_usage

tenants = typer.Typer(
    cls=Commands, no_args_is_help=True, help="The companies whose events the platform takes in."
)

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The tenant's name for machines.")]


@tenants.command("list")
def list_(as_json: AsJson = False, env_file: DatabaseEnvFile = None) -> None:
    """List the tenants; tenant 0 is the platform itself."""
    with database(env_file) as connection:
        show([asdict(tenant) for tenant in list_tenants(connection)], as_json=as_json)


@tenants.command("show", cls=Command)
def show_(slug: Slug, as_json: AsJson = False, env_file: DatabaseEnvFile = None) -> None:
    """Show one tenant, and how many new events of this month are stored."""
    with database(env_file) as connection:
        tenant = find_tenant(connection, slug)
        events = events_this_month(connection, tenant.tenant_id)
        show([{**asdict(tenant), "events_this_month": events}], as_json=as_json)


@tenants.command(cls=Command)
def create(
    slug: Annotated[
        str,
        typer.Argument(metavar="SLUG", help="Its name for machines: small letters, digits and hyphens."),
    ],
    name: Annotated[str | None, typer.Option(help="Its name for people; the slug, if not given.")] = None,
    plan: Annotated[
        Plan, typer.Option(help="What it may use, see: sspp plans list. Without one named, all it likes.")
    ] = "enterprise",
    env_file: DatabaseEnvFile = None,
) -> None:
    """Make a tenant."""
    with database(env_file) as connection:
        tenant = create_tenant(connection, slug, name or slug, plan)
    typer.echo(f"created tenant {tenant.slug} ({tenant.tenant_id})")


@tenants.command(cls=Command)
def change(
    slug: Slug,
    plan: Annotated[Plan | None, typer.Option(help="What it may use, see: sspp plans list.")] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A web page that may send events, such as https://shop.example. Give it once for each: those not"
            " given are no longer allowed. 'none' for none.",
        ),
    ] = None,
    retention_days: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST_RETENTION_DAYS,
            help="How long its events, signals and refusals are kept, by received_at. 0: as long as the platform's.",
        ),
    ] = None,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Change what is given; within 2 seconds everybody knows."""
    origins = (
        [] if allow_origin == ["none"] else allow_origin or None
    )  # typer's list is empty if none is given
    with database(env_file) as connection:
        tenant = change_tenant(
            connection, slug, plan=plan, allowed_origins=origins, retention_days=retention_days
        )
        show([asdict(tenant)], as_json=False)


@tenants.command(cls=Command)
def suspend(slug: Slug, env_file: DatabaseEnvFile = None) -> None:
    """Answer the tenant's requests with 403, within 2 seconds everywhere; what it sent before still arrives."""
    with database(env_file) as connection:
        set_status(connection, slug, "suspended")
    typer.echo(f"suspended {slug}")


@tenants.command(cls=Command)
def resume(slug: Slug, env_file: DatabaseEnvFile = None) -> None:
    """Let a suspended tenant go on."""
    with database(env_file) as connection:
        set_status(connection, slug, "active")
    typer.echo(f"resumed {slug}")


@tenants.command(cls=Command)
def delete(
    slug: Slug,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """End a tenant for good: its keys are as if they did not exist.

    Its data goes with the platform's retention (SSPP_RETENTION_MONTHS). To have it gone sooner, or at all where the
    platform keeps everything: sspp tenants change SLUG --retention-days 1. When that time is over for all it sent, its
    customers go too.
    """
    if not yes:
        typer.confirm(f"Delete tenant {slug}, for good?", abort=True)
    with database(env_file) as connection:
        set_status(connection, slug, "deleted")
    typer.echo(f"deleted {slug}")


@tenants.command(cls=Command)
def recount(
    month: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m"], metavar="YYYY-MM", help="Of received_at, in UTC. Default: this month."
        ),
    ] = None,
    as_json: AsJson = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Raise the usage of a month to the events of it that are stored, and show what was missing.

    Only workers of releases without plans leave something uncounted. It reads the whole month of the log, and keeps
    nobody waiting.
    """
    with database(env_file) as connection:
        found = recount_usage(connection, month.replace(tzinfo=UTC) if month else system_clock())
    show([asdict(each) for each in found], as_json=as_json)
