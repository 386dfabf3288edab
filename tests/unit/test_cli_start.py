"""What a start of ``sspp`` costs: scripts and schedules run it often."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infrastructure.cli.main import app

_PARTS_OF_OTHERS = {"__init__", "console", "main", "safekeeping", "search_server", "withheld"}
_CLI = Path(__file__).parents[2] / "infrastructure" / "cli"


def imported_by(*arguments: str) -> set[str]:
    script = (
        "import contextlib, io, json, sys\n"
        "from infrastructure.cli.main import app\n"
        "with contextlib.redirect_stdout(io.StringIO()): app(sys.argv[1:], standalone_mode=False)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_a_command_imports_nothing_that_only_others_need() -> None:
    imported = imported_by("keys", "list", "--help")

    assert "infrastructure.cli.keys" in imported
    assert "infrastructure.cli.backup" not in imported
    assert not imported & {"elasticsearch", "httpx", "obstore"}


def test_the_help_lists_every_command_that_there_is() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    modules = {module.stem for module in _CLI.glob("*.py")} - _PARTS_OF_OTHERS

    assert modules > {"up", "event_types", "rejected"}
    assert not [name for name in modules if name.replace("_", "-") not in shown]


def test_a_mistyped_command_is_answered_with_the_likely_one() -> None:
    done = CliRunner().invoke(app, ["key", "list"])

    assert done.exit_code == 2
    assert "keys" in done.output


@pytest.mark.parametrize("name", ["migrate", "event-types"])
def test_a_command_tells_its_own_usage(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], prog_name="sspp")

    assert shown.exit_code == 0
    assert f"sspp {name} " in shown.output
