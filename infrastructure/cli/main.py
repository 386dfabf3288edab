"""``sspp``: the command that runs and operates the platform; each group of commands is a module beside this."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import version as installed_version
from typing import Annotated, Any

import typer
from typer.main import get_command, get_group

from infrastructure.cli.console import Command, Commands

# In the order of the help; each is what a module of that name has under that name.
_NAMES = (
    *("up", "load", "migrate", "seed", "reindex", "verify", "status", "backup", "restore"),
    *("tenants", "keys", "plans", "roles", "event-types", "partitions", "archives", "rejected"),
)


class _ByName(Mapping[str, Any]):
    """Commands that are imported when they are asked for: most need but a part of what all of them need."""

    def __getitem__(self, name: str) -> Any:
        if name not in _NAMES:
            raise KeyError(name)
        identifier = name.replace("-", "_")
        found = getattr(import_module(f"infrastructure.cli.{identifier}"), identifier)
        if isinstance(found, typer.Typer):
            made: Any = get_group(found)
        else:
            single = typer.Typer(add_completion=False)
            single.command(cls=Command)(found)
            made = get_command(single)
        made.name = name
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


class _AllCommands(Commands):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        by_name: Any = _ByName()
        self.commands = by_name


app = typer.Typer(
    name="sspp",
    cls=_AllCommands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,  # locals may hold keys and URLs with passwords
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sspp {installed_version('sspp')}")
        raise typer.Exit


@app.callback()
def sspp(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """The Sales Signal Processing Platform: run it, feed it, look after it."""
