"""``sspp event-types``: what kinds of events there are."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from common.event_types.registry import (
    Compatibility,
    Definition,
    Status,
    list_types,
    parse_schema,
    put_type,
    set_status,
)
from common.event_types.signal_type import SignalType
from infrastructure.cli.console import AsJson, Command, Commands, DatabaseEnvFile, database, show

event_types = typer.Typer(
    cls=Commands, no_args_is_help=True, help="What kinds of events there are, and a tenant's own."
)

Tenant = Annotated[str, typer.Option(help="The tenant's slug.")]


@event_types.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's own.")] = None,
    as_json: AsJson = False,
    env_file: DatabaseEnvFile = None,
) -> None:
    """List the event types, the platform's own first; --json prints the schemas too."""
    with database(env_file) as connection:
        rows = [asdict(stored) for stored in list_types(connection, tenant)]
    if not as_json:
        for row in rows:
            del row["schema"]
    show(rows, as_json=as_json)


@event_types.command(cls=Command)
def add(
    schema: Annotated[
        Path,
        typer.Argument(
            metavar="SCHEMA",
            help="A file with a JSON Schema (2020-12) for the event's data.",
            exists=True,
            dir_okay=False,
        ),
    ],
    name: Annotated[str, typer.Option("--type", help="The event type: small letters, digits, _ and .")],
    tenant: Tenant,
    signal_type: Annotated[
        SignalType, typer.Option(help="What such an event tells.")
    ] = SignalType.ENGAGEMENT,
    signal_score: Annotated[float, typer.Option(min=0, max=1, help="How much it tells.")] = 0.4,
    compatibility: Annotated[
        Compatibility,
        typer.Option(help="none: take it even if it may refuse what the version before it accepts."),
    ] = "backward",
    env_file: DatabaseEnvFile = None,
) -> None:
    """Give a tenant an event type of its own, or its next version; it need not know any code."""
    parsed = parse_schema(schema.read_bytes())
    definition = Definition(parsed, str(parsed.get("description", "")), signal_type, signal_score)
    stored, is_new = put_type(partial(database, env_file), tenant, name, definition, compatibility)
    typer.echo(f"{'added' if is_new else 'is there already:'} {name} v{stored.version}")


@event_types.command("status", cls=Command)
def status_(
    name: Annotated[str, typer.Argument(metavar="TYPE", help="The event type.")],
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1)],
    status: Annotated[
        Status,
        typer.Argument(
            metavar="STATUS",
            help="active, deprecated (senders should move on) or retired (it accepts nothing any more).",
        ),
    ],
    tenant: Tenant,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Deprecate or retire a version of a tenant's event type, or make it active again."""
    set_status(partial(database, env_file), tenant, name, version, status)
    typer.echo(f"{name} v{version} is {status}")
