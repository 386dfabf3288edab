"""`sspp up`: the whole platform on this machine, with one command."""

import contextlib
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from common.tenancy.keys import ensure_key
from infrastructure.database.connections import Connection, connect
from infrastructure.database.migrate import migrate
from infrastructure.database.roles import enable_process_roles
from infrastructure.database.seed import seed
from infrastructure.local.environment_file import write_environment
from infrastructure.local.errors import CancelledError
from infrastructure.local.folder import DataFolder
from infrastructure.local.stack import (
    Applications,
    Servers,
    given_urls,
    process_environment,
    queue_environment,
)
from infrastructure.local.supervisor import Supervisor

_DEMO_TENANT = "demo"
_KEYS = {
    "SSPP_API_KEY": ["ingest", "read"],
    "SSPP_ADMIN_KEY": ["ingest", "read", "admin"],
}


class _StopRequest:
    """Set by SIGINT, SIGTERM and SIGHUP. A plain flag: a signal handler must not take a lock."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        self._asked = True

    def __call__(self) -> bool:
        return self._asked

    def check(self) -> None:
        if self._asked:
            raise CancelledError


class _Terminal:
    """Where a person may be reading. The stack goes on, and stops in good order, also when nobody does."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def say(self, line: str, style: str | None = None) -> None:
        # rich answers a closed pipe by leaving the program.
        with contextlib.suppress(OSError, SystemExit):
            self._console.print(line, style=style, markup=False)

    def warn(self, line: str) -> None:
        self.say(line, "yellow")


def up(
    data_dir: Annotated[Path, typer.Option(help="Where the stack keeps its data and logs.")] = Path(".sspp"),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The API's port; 0 for last time's, 8000 or a free one.")
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many ingest workers.")] = 1,
    external: Annotated[
        bool,
        typer.Option(
            "--external",
            help="Use the servers that DATABASE_URL, REDIS_URL and ELASTICSEARCH_URL name; start only those"
            " that none of them names. Without this flag the variables are ignored: a shell may hold them for"
            " something else.",
        ),
    ] = False,
    only_servers: Annotated[
        bool,
        typer.Option(
            "--only-servers",
            help="Start PostgreSQL, Redis and search as they are, and nothing that uses them: to restore a backup.",
        ),
    ] = False,
) -> None:
    """Run the whole platform here: servers, schema, demo tenant, API and workers, until Ctrl-C.

    Whatever dies is started again. State stays in the data folder and survives a restart.
    """
    terminal = _Terminal()
    stop = _StopRequest()
    folder = DataFolder(data_dir)
    try:
        for name in folder.hold():
            terminal.say(f"ended {name}, left over from a stack that was killed")
        try:
            servers = Servers(folder, given_urls() if external else {})
            if only_servers:
                _run_servers(folder, servers, stop=stop, terminal=terminal)
            else:
                _run(folder, servers, port=port, workers=workers, stop=stop, terminal=terminal)
        finally:
            folder.release()
    except CancelledError:
        terminal.say("stopped")


def _run_servers(folder: DataFolder, servers: Servers, *, stop: _StopRequest, terminal: _Terminal) -> None:
    supervisor = Supervisor(folder, report=terminal.warn)
    try:
        servers.start(supervisor, cancelled=stop)
        write_environment(folder.environment_file, servers.urls | queue_environment(servers.urls))
        terminal.say(f"only the servers are running; {_as_typed(folder.environment_file)} tells where")
        supervisor.run(stop)
        raise CancelledError
    finally:
        terminal.say("stopping")
        supervisor.stop()


def _run(
    folder: DataFolder,
    servers: Servers,
    *,
    port: int,
    workers: int,
    stop: _StopRequest,
    terminal: _Terminal,
) -> None:
    supervisor = Supervisor(folder, report=terminal.warn)
    try:
        # Before anything is started: a port that is taken shall cost nobody the start of three servers.
        environment = {"SSPP_DISK_PATHS": str(folder.path), **process_environment(os.environ, servers.urls)}
        applications = Applications(
            folder, environment, port=port, workers=workers, with_roles=servers.own_database
        )
        if applications.port_remark:
            terminal.say(applications.port_remark)

        names = ", ".join(server.name for server in servers.embedded) or "no servers: all are given"
        terminal.say(f"starting {names}")
        servers.start(supervisor, cancelled=stop)

        terminal.say("migrating and seeding the database")
        stop.check()
        migrate(servers.urls["DATABASE_URL"])
        seed(servers.urls["DATABASE_URL"])
        with connect(servers.urls["DATABASE_URL"]) as connection:
            keys = _ensure_keys(folder, connection)
            if (
                servers.own_database
            ):  # one that was given has roles of its owner's making, and goes by its URL
                enable_process_roles(connection, folder.password)

        terminal.say("starting the API and the workers")
        applications.start(supervisor, cancelled=stop)

        told = servers.urls | queue_environment(servers.urls) | {"SSPP_API_URL": applications.url} | keys
        write_environment(folder.environment_file, told)
        terminal.say(_greeting(applications.url, folder))
        supervisor.run(stop)
        raise CancelledError
    finally:
        terminal.say("stopping")
        supervisor.stop()


def _ensure_keys(folder: DataFolder, connection: Connection) -> dict[str, str]:
    keys = {}
    for name, scopes in _KEYS.items():
        label = f"sspp up: {name}"
        keys[name] = ensure_key(connection, _DEMO_TENANT, label, scopes, folder.recall("keys", name))
        folder.remember("keys", name, keys[name])
    return keys


def _greeting(url: str, folder: DataFolder) -> str:
    sspp = _as_typed(Path(sys.executable).with_name("sspp"))
    return f"""
SSPP is running.

  API      {url}
  docs     {url}/docs
  metrics  {url}/metrics
  logs     {_as_typed(folder.logs)}

In another terminal:

  set -a; . {_as_typed(folder.environment_file)}; set +a

  curl -s "$SSPP_API_URL/v1/events" -H "Authorization: Bearer $SSPP_API_KEY" \\
    -H "Content-Type: application/json" \\
    -d '{{"event_type": "purchase", "customer_id": "c-1", "data": {{"amount": "19.90", "currency": "USD"}}}}'

  {sspp} load data/cdnow_purchases.csv.gz    # real input: 69,659 purchases

Ctrl-C stops everything; the data stays.
"""


def _as_typed(path: Path) -> str:
    """`path` as one would type it here: relative where it is below this folder."""
    here = Path.cwd()
    return shlex.quote(f"./{path.relative_to(here)}" if path.is_relative_to(here) else str(path))
