"""Where commands find their variables, the database commands of `sspp` included."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from common.errors import SettingsError
from infrastructure.cli.main import app
from infrastructure.loading.environment import find_variables

NOWHERE = "postgresql://127.0.0.1:1/{}"
DATABASE_COMMANDS = [
    "archives erase",
    "event-types add",
    "event-types list",
    "event-types status",
    "keys create",
    "keys list",
    "keys revoke",
    "keys rotate",
    "migrate",
    "partitions create",
    "partitions drop",
    "partitions ensure",
    "partitions list",
    "plans list",
    "plans set",
    "roles enable",
    "seed",
    "tenants change",
    "tenants create",
    "tenants delete",
    "tenants list",
    "tenants recount",
    "tenants resume",
    "tenants show",
    "tenants suspend",
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)


def write(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def commands(group: Any, *path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name)), command


def test_each_variable_comes_from_the_environment_or_else_from_the_file() -> None:
    write(".sspp/env", "A='of the file'\nB=2\n")
    assert find_variables(("A", "B"), {"A": "1", "B": ""}) == {"A": "1", "B": "2"}
    named = write("other/env", "export A=3")
    assert find_variables(("A",), {}, env_file=named) == {"A": "3"}


def test_what_is_no_environment_file_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"^\.sspp/env is not a file of KEY=value lines"):
        find_variables(("A",), {}, env_file=write(".sspp/env", "A='1"))


@pytest.mark.parametrize("name", DATABASE_COMMANDS)
def test_a_database_command_looks_in_the_environment_then_in_the_file(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []

    def connect(url: str, **_: object) -> None:
        used.append(url)
        raise SettingsError("seen")

    monkeypatch.setenv("SSPP_ROLE_PASSWORD", "not asked for then")
    for module in ("infrastructure.cli.console", "infrastructure.database.seed"):
        monkeypatch.setattr(f"{module}.connect", connect)
    monkeypatch.setattr("infrastructure.cli.migrate.apply_migrations", connect)
    given = {
        "event-types add": [str(write("schema.json", "{}")), "--type", "t", "--tenant", "demo"],
        "keys create": ["demo", "--scope", "read"],
        "event-types status": ["t", "1", "retired", "--tenant", "demo"],
        "keys revoke": ["demo", "prefix"],
        "keys rotate": ["demo", "prefix"],
        "partitions drop": ["--keep-months", "1", "--yes"],
        "plans set": ["pro", "--monthly-events", "1"],
        "roles enable": ["sspp_api"],
        "tenants change": ["demo", "--plan", "pro"],
        "tenants delete": ["demo", "--yes"],
        **{f"tenants {verb}": ["demo"] for verb in ("create", "resume", "show", "suspend")},
    }

    def run(*options: str) -> str:
        done = CliRunner().invoke(app, [*name.split(), *given.get(name, []), *options])
        assert done.exit_code == 1
        return done.stderr

    assert "DATABASE_URL is not set, neither in the environment nor in .sspp/env" in run()
    assert "Cannot read none" in run("--env-file", "none")
    assert used == []
    write(".sspp/env", "DATABASE_URL=of-the-local-stack")
    write("other/env", "DATABASE_URL=of-another-file")
    run()
    run("--env-file", "other/env")
    monkeypatch.setenv("DATABASE_URL", "of-the-environment")
    run("--env-file", "other/env")
    assert used == ["of-the-local-stack", "of-another-file", "of-the-environment"]


def test_the_help_of_every_database_command_says_where_the_database_is_taken_from() -> None:
    told = {
        name
        for name, command in commands(get_command(app))
        for parameter in command.params
        if "Where DATABASE_URL is read from" in (getattr(parameter, "help", None) or "")
    }
    # These need more than the database, and find it in the same way.
    assert told == {*DATABASE_COMMANDS, "backup", "reindex", "restore", "status", "verify"}


def test_arguments_are_upper_case_and_without_braces_in_the_usage() -> None:
    for name, command in commands(get_command(app)):
        context = command.make_context(name, [], resilient_parsing=True)
        options, *arguments = command.collect_usage_pieces(context)
        assert options == "[OPTIONS]"
        # Brackets are around what may be left out.
        assert all(re.fullmatch(r"[A-Z]+|\[[A-Z]+\]", piece) for piece in arguments), (name, arguments)
