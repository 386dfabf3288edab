"""`sspp load` in the test's own process, and files for it."""

import json
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner, Result

from infrastructure.cli.load import load


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    app = typer.Typer()
    app.command()(load)
    result = CliRunner().invoke(app, arguments, input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def summary(result: Result) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def ndjson(path: Path, count: int, **fields: Any) -> str:
    lines = [
        json.dumps({"event_type": "note", "customer_id": str(n), "n": n} | fields)
        for n in range(1, count + 1)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)
