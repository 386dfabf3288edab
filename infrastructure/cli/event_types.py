"""``sspp event-types``: what kinds of events there are."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from infrastructure.cli.console import AsJson, Command, Commands, DatabaseEnvFile, database, show
from infrastructure.database.event_types import EventTypeError, add_type, list_types
from worker.domains.domain import EventType, SignalType

event_types = typer.Typer(
    cls=Commands, no_args_is_help=True, help="What kinds of events there are, and a tenant's own."
)


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
    tenant: Annotated[str, typer.Option(help="The tenant's slug.")],
    signal_type: Annotated[
        SignalType, typer.Option(help="What such an event tells.")
    ] = SignalType.ENGAGEMENT,
    signal_score: Annotated[float, typer.Option(min=0, max=1, help="How much it tells.")] = 0.4,
    version: Annotated[int, typer.Option(min=1, help="A stored version never changes.")] = 1,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Give a tenant an event type of its own; it need not know any code."""
    event_type = EventType(name, version, _read_schema(schema))
    with database(env_file) as connection:
        added = add_type(connection, tenant, event_type, signal_type=signal_type, signal_score=signal_score)
    typer.echo(f"{'added' if added else 'is there already:'} {name} v{version}")


def _read_schema(path: Path) -> dict[str, Any]:
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EventTypeError(f"{path}: not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise EventTypeError(f"{path}: the schema of an event type is a JSON object")
    return schema
