"""What the commands share: where the database is, how failures end a command, how lists are shown."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from common.clock import rfc3339
from common.database.connections import translated_errors
from common.errors import SettingsError, SsppError
from infrastructure.database.connections import Connection, connect
from infrastructure.loading.environment import find_variables

AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON array, for machines.")]
DatabaseEnvFile = Annotated[
    Path | None,
    typer.Option(
        "--env-file",
        help="Where DATABASE_URL is read from if not set in the environment.",
        show_default=".sspp/env, as written by sspp up",
    ),
]

_WIDTH_WITHOUT_TERMINAL = 240


class Commands(TyperGroup):
    """A group of commands in which a failure of the platform is one line on stderr and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that `ctx`, a click.Context of whichever click typer brings, names."""
        try:
            return super().invoke(ctx)
        except SsppError as error:
            typer.echo(f"sspp: {error.detail}", err=True)
            raise typer.Exit(1) from None


class Command(TyperCommand):
    """A command whose usage line shows arguments as their metavars stand, as older releases of typer do."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The pieces of the usage line for `ctx`, a click.Context, without the braces around arguments."""
        return [piece.removeprefix("{").removesuffix("}") for piece in super().collect_usage_pieces(ctx)]


def database_url(env_file: Path | None = None) -> str:
    """DATABASE_URL of the environment or else of `env_file`, as `find_variables` looks for it.

    A command that needs only the database asks for nothing else.

    Raises:
        SettingsError: it is not set, or `env_file` cannot be read.
    """
    return find_variables(("DATABASE_URL",), os.environ, env_file=env_file)["DATABASE_URL"]


@contextmanager
def database(env_file: Path | None = None) -> Iterator[Connection]:
    """A connection to the database that `database_url` finds, closed at the end.

    Raises:
        SettingsError: DATABASE_URL is missing or no PostgreSQL URL, or the database has no schema yet.
        DatabaseUnavailableError: the server cannot be reached or went away.
    """
    try:
        with translated_errors(), connect(database_url(env_file)) as connection:
            yield connection
    except psycopg.errors.UndefinedTable as error:
        raise SettingsError("the database lacks our tables; make them with: sspp migrate") from error


def show(rows: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Print `rows`, which share their keys, as a table or, with `as_json`, as a JSON array."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=_to_json, ensure_ascii=False))
        return
    if not rows:
        typer.echo("(none)")
        return
    table = Table(*rows[0], box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(_to_text(value), overflow="fold") for value in row.values()))
    Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL).print(table)


def _to_json(value: object) -> object:
    if isinstance(value, datetime):
        return rfc3339(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def _to_text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return rfc3339(value.replace(microsecond=0))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
