"""``sspp``: the command that runs and operates the platform; each group of commands is a module beside this."""

from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from infrastructure.cli.archives import archives
from infrastructure.cli.backup import backup
from infrastructure.cli.console import Command, Commands
from infrastructure.cli.event_types import event_types
from infrastructure.cli.keys import keys
from infrastructure.cli.load import load
from infrastructure.cli.migrate import migrate
from infrastructure.cli.partitions import partitions
from infrastructure.cli.plans import plans
from infrastructure.cli.reindex import reindex
from infrastructure.cli.rejected import rejected
from infrastructure.cli.restore import restore
from infrastructure.cli.roles import roles
from infrastructure.cli.seed import seed
from infrastructure.cli.status import status
from infrastructure.cli.tenants import tenants
from infrastructure.cli.up import up
from infrastructure.cli.verify import verify

app = typer.Typer(
    name="sspp",
    cls=Commands,
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


app.command()(up)
app.command(cls=Command)(load)
app.command()(migrate)
app.command()(seed)
app.command()(reindex)
app.command()(verify)
app.command()(status)
app.command()(backup)
app.command(cls=Command)(restore)
app.add_typer(tenants, name="tenants")
app.add_typer(keys, name="keys")
app.add_typer(plans, name="plans")
app.add_typer(roles, name="roles")
app.add_typer(event_types, name="event-types")
app.add_typer(partitions, name="partitions")
app.add_typer(archives, name="archives")
app.add_typer(rejected, name="rejected")
