"""A PostgreSQL server of a test's own whose write-ahead log is archived, and recovered, by what the how-to says."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from infrastructure.local.folder import DataFolder
from infrastructure.local.postgres import Postgres
from infrastructure.local.process import Command, Process

_HOWTO = Path(__file__).parents[3] / "docs/howto/back_up_and_restore.md"
_SETTING = re.compile(r"^(\w+) = (?:'([^']*)'|(\S+))", re.MULTILINE)
_STANDBY = "pg_receivewal"


class ArchivingServer:
    """Its data, its archive and its base backup are beside each other in `folder`, which is held."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._postgres = Postgres(folder)
        self._process: Process | None = None
        self.url = self._postgres.url
        command = self._postgres.prepare()
        self._account = command.account
        self._programs = Path(command.argv[0]).parent
        self._data = Path(command.argv[command.argv.index("-D") + 1])
        self.archive = self._made("archive")
        self._base = folder.path / "base"
        self._received = self._made("received")

    def start(self, **settings: str) -> None:
        """Run it with the settings of the how-to, and return when it answers."""
        found = _block("# postgresql.conf", "```") | settings
        options = [
            word
            for name, value in found.items()
            for word in ("-c", f"{name}={value.replace('/archive', str(self.archive))}")
        ]
        command = self._postgres.prepare()
        self._process = self._started(replace(command, argv=(*command.argv, *options)))

    def kill(self) -> None:
        """Let it die at once, as if the machine had."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.end()

    def back_up(self) -> None:
        """Take a base backup, and see that it is whole."""
        self._run("pg_basebackup", "-d", self._replication_url(), "-D", str(self._base), "--checkpoint=fast")
        self._run("pg_verifybackup", str(self._base))

    def lose_the_data(self) -> None:
        shutil.rmtree(self._data)

    def recover(self, **changes: str) -> None:
        """Start it on the base backup and the archive, as the how-to says; `changes` are to what that says."""
        self._run("cp", "-a", str(self._base), str(self._data))
        recovery = _block("<<'END'", "\nEND\n") | changes
        with (self._data / "postgresql.auto.conf").open("a") as file:
            for name, value in recovery.items():
                file.write(f"{name} = '{value.replace('/archive', str(self.archive))}'\n")
        self._run("touch", str(self._data / "recovery.signal"))
        self.start()

    @contextmanager
    def receiving(self) -> Iterator[Path]:
        """The log is received as it is written, and each commit waits for that; yields the folder it goes into."""
        self._run("pg_receivewal", "-d", self._replication_url(), "--slot=kept", "--create-slot")
        receiver = subprocess.Popen(
            [
                *(self._programs / _STANDBY, "-d", self._replication_url(), "-D", self._received),
                *("--slot=kept", "--synchronous", "--no-loop", "--no-password"),
            ],
            stderr=subprocess.DEVNULL,
            **self._identity(),
        )
        try:
            self.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{_STANDBY}'")
            self.execute("SELECT pg_reload_conf()")
            yield self._received
        finally:
            receiver.terminate()
            receiver.wait()

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        if self._process:
            self._process.ask_to_stop()
            self._process.end()

    def _replication_url(self) -> str:
        return self.url.rpartition("/")[0] + f"/postgres?application_name={_STANDBY}"

    def _started(self, command: Command) -> Process:
        process = Process(command, self._folder)
        process.start()
        while not command.is_ready():
            assert process.exit_status() is None, process.log_tail()
        return process

    def _made(self, name: str) -> Path:
        made = self._folder.path / name
        made.mkdir()
        if self._account:
            os.chown(made, self._account.uid, self._account.gid)
        return made

    def _run(self, program: str, *arguments: str) -> None:
        found = self._programs / program
        # The folder itself is not the account's to write into, so what is made there is given to it afterwards.
        done = subprocess.run(
            [found if found.exists() else program, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        for made in (self._base, self._data):
            for path in [made, *made.rglob("*")] if made.exists() and self._account else []:
                os.chown(path, self._account.uid, self._account.gid)

    def _identity(self) -> dict[str, int]:
        return {"user": self._account.uid, "group": self._account.gid} if self._account else {}


def _block(begin: str, end: str) -> dict[str, str]:
    """The settings that the how-to gives between two marks."""
    text = _HOWTO.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]
    found = {name: quoted or bare for name, quoted, bare in _SETTING.findall(text)}
    assert found, f"the how-to has no settings after {begin}"
    return found
