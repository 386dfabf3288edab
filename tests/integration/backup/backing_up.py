"""A site that is backed up and restored by the commands themselves, in the test's own process."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from people import People
from psycopg import sql
from typer.testing import CliRunner, Result

from infrastructure.backup.manifest import manifest_name
from infrastructure.backup.programs import at_database, database_name, find_programs
from infrastructure.cli.main import app
from infrastructure.database.connections import connect
from infrastructure.safekeeping.fingerprint import TableState, take_fingerprint
from infrastructure.safekeeping.seal import seal, unseal

# What a restore is to change, since it is about the index and not about what was stored.
ABOUT_THE_INDEX = {"search_indices", "index_marks"}

# What scripts go by.
EXIT_CODES = {
    "backup_store_missing": 3,
    "backup_not_found": 3,
    "restore_refused": 4,
    "backup_empty": 5,
    "backup_truncated": 6,
    "backup_corrupted": 7,
    "backup_wrong_version": 8,
    "backup_not_decrypted": 9,
    "backup_restored_differently": 10,
    "backup_programs_too_old": 11,
    "revocations_unknown": 12,
}


@dataclass
class Site:
    people: People
    environment: dict[str, str]
    server: str
    store: Path

    @property
    def url(self) -> str:
        return self.environment["DATABASE_URL"]

    @property
    def name(self) -> str:
        return database_name(self.url)

    def run(self, *arguments: str, **environment: str) -> Result:
        """Run ``sspp`` with these arguments, and variables of the environment by name."""
        given = {**self.environment, "SSPP_BACKUP_URL": str(self.store), **environment}
        result = CliRunner().invoke(app, list(arguments), env=given)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def backup(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """Take a backup; returns what the command says of it."""
        done = self.run("backup", "--quiet", "--json", *arguments, **environment)
        assert done.exit_code == 0, done.output
        [row] = json.loads(done.stdout)
        return dict(row)

    def restore(self, *arguments: str, **environment: str) -> Result:
        """Restore without the index, which takes its time."""
        return self.run("restore", "--quiet", "--no-index", *arguments, **environment)

    def dump(self, name: str) -> Path:
        return self.store / f"{name}.dump"

    def rewrite(self, name: str, **changes: Any) -> None:
        """Let the manifest say something else, as if it had been written so."""
        file = self.store / manifest_name(name)
        file.write_bytes(seal(unseal(file.read_bytes(), name) | changes))

    def fingerprint(self) -> dict[str, TableState]:
        with connect(self.url) as connection:
            return take_fingerprint(connection)

    def stored(self) -> dict[str, TableState]:
        """The fingerprint of all that a restore brings back as it was."""
        return {table: state for table, state in self.fingerprint().items() if table not in ABOUT_THE_INDEX}

    def schema(self) -> list[str]:
        """The definitions and rights of everything in the database, line by line, sorted."""
        programs = find_programs("", at_least=self.server_major())
        done = subprocess.run(
            [programs.folder / "pg_dump", "--schema-only", f"--dbname={self.url}"],
            capture_output=True,
            text=True,
            check=True,
        )
        # pg_dump guards its scripts with random words.
        return sorted(line for line in done.stdout.splitlines() if "restrict" not in line)

    def server_major(self) -> int:
        with psycopg.connect(self.server) as connection:
            return connection.info.server_version // 10_000

    def execute(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def databases(self) -> list[str]:
        """This site's databases: the live one, and what restores made beside it."""
        with psycopg.connect(self.server) as connection:
            found = connection.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", (self.name,)
            )
            return [name for (name,) in found]

    def destroy(self) -> None:
        """Lose the database."""
        self._drop(self.name)

    def clean_up(self) -> None:
        for name in self.databases():
            if name != self.name:
                self._drop(name)

    def at(self, database: str) -> str:
        return at_database(self.url, database)

    def _drop(self, name: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def metrics(folder: Path) -> dict[str, float]:
    """What the files of the textfile collector say."""
    lines = [line for file in sorted(folder.glob("*.prom")) for line in file.read_text().splitlines()]
    return {
        name: float(value) for name, value in (line.split() for line in lines if not line.startswith("#"))
    }


@contextmanager
def unchanged(site: Site) -> Iterator[None]:
    """Whatever happens in the block, the database is afterwards as it was, and nothing is left beside it."""
    before = site.fingerprint(), site.databases()
    yield
    assert (site.fingerprint(), site.databases()) == before


def failed_with(done: Result) -> str:
    """The code that a command ended with, told on stderr and by its exit code alike."""
    match = re.search(r"\[(\w+)\]$", done.stderr.strip())
    assert match, done.output
    assert done.exit_code == EXIT_CODES.get(match[1], 1), done.output
    return match[1]


Damage = Callable[[Path], object]


def cut_off(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")
