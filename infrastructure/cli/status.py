"""``sspp status``: the platform at a glance."""

import json
import os
import sys
import time
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from common.clock import rfc3339, system_clock
from common.store_urls import redis_access
from infrastructure.cli.console import DatabaseEnvFile
from infrastructure.loading.environment import find_variables
from infrastructure.safekeeping.settings import load_backup_settings
from infrastructure.status.backups import ask_backups
from infrastructure.status.database import ask_database
from infrastructure.status.queue import ask_queue
from infrastructure.status.screen import render
from infrastructure.status.search import ask_search
from infrastructure.status.status import Ask, Status, ask_all

_WIDTH_WITHOUT_TERMINAL = 120
_URLS = ("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL")


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object, for machines.")] = False,
    watch: Annotated[
        float | None, typer.Option(min=0.5, metavar="SECONDS", help="Look again after so long, until Ctrl-C.")
    ] = None,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Show how the platform is: stores, queues, workers, lag, partitions, backups, on one screen.

    Needs DATABASE_URL, REDIS_URL and ELASTICSEARCH_URL, and takes seconds whatever there is; what is down is shown as
    such. Exit codes: 0 all is well, 1 something is to be seen to, 2 wrong use. With --watch: that of the last look.
    """
    parts = _parts(env_file)
    found = ask_all(parts)
    console = Console(
        width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL
    )
    if watch is None:
        _print(found, console, as_json=as_json)
    else:
        found = _watch(found, parts, watch, console, as_json=as_json)
    if not found.healthy:
        raise typer.Exit(1)


def _watch(
    found: Status, parts: dict[str, Ask], seconds: float, console: Console, *, as_json: bool
) -> Status:
    screen = None if as_json or not console.is_terminal else Live(render(found), console=console)
    try:
        if screen:
            screen.start()
        else:
            _print(found, console, as_json=as_json, lines=True)
        while True:
            time.sleep(seconds)
            found = ask_all(parts)
            if screen:
                screen.update(render(found), refresh=True)
            else:
                _print(found, console, as_json=as_json, lines=True)
    except KeyboardInterrupt:
        return found
    finally:
        if screen:
            screen.stop()


def _parts(env_file: Path | None) -> dict[str, Ask]:
    urls = find_variables(_URLS, os.environ, env_file=env_file)
    redis_access(
        "REDIS_URL", urls["REDIS_URL"]
    )  # the client would quote what it stumbles over, be it a password
    ca_file = os.environ.get("SSPP_ELASTICSEARCH_CA_FILE", "")
    settings = load_backup_settings()
    return {
        "PostgreSQL": lambda answers: ask_database(urls["DATABASE_URL"], system_clock(), answers),
        "Redis": partial(ask_queue, urls["REDIS_URL"]),
        "Elasticsearch": partial(ask_search, urls["ELASTICSEARCH_URL"], ca_file),
        "Backups": lambda answers: ask_backups(settings, system_clock(), answers),
    }


def _print(found: Status, console: Console, *, as_json: bool, lines: bool = False) -> None:
    if as_json:
        values = {"healthy": found.healthy, **asdict(found)}
        text = json.dumps(values, indent=None if lines else 2, default=_to_json, ensure_ascii=False)
        typer.echo(text)
    else:
        console.print(render(found))


def _to_json(value: Any) -> object:
    if isinstance(value, datetime):
        return rfc3339(value)
    raise TypeError(f"no JSON for {type(value).__name__}")
