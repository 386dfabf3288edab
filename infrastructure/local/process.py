"""One child process: started with a log file and a record of its identity, stopped with a grace."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infrastructure.local.accounts import Account
from infrastructure.local.errors import LocalStackError
from infrastructure.local.folder import DataFolder
from infrastructure.local.records import Record, identity

_LOG_LIMIT = 20 * 1024 * 1024


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Command:
    """How to run one process, and how to tell that it is ready and to stop it.

    `environment` is complete: nothing is inherited. `account` is the system account to run as, None for our
    own. `is_ready` is asked repeatedly after the start and must return within a second or two.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path | None = None
    account: Account | None = None
    is_ready: Callable[[], bool] = _always
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 20.0


class Process:
    """A process of the stack. Its log is ``logs/<name>.log``, its record ``run/<name>.json``.

    Processes of a later `stage` use those of earlier ones, so they must stop first.
    """

    def __init__(self, command: Command, folder: DataFolder, *, stage: int = 0) -> None:
        self.command = command
        self._stage = stage
        self.log = folder.logs / f"{command.name}.log"
        self._record = folder.run / f"{command.name}.json"
        self._lock = folder.descriptor
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def name(self) -> str:
        """The command's name."""
        return self.command.name

    @property
    def pid(self) -> int:
        """The number of the process started last; 0 before the first start."""
        return self._popen.pid if self._popen else 0

    def start(self) -> None:
        """Start it; the previous run, if any, must have ended.

        Raises:
            LocalStackError: the program cannot be executed.
        """
        command = self.command
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        identity_of: dict[str, object] = {}
        if command.account:
            identity_of = {"user": command.account.uid, "group": command.account.gid, "extra_groups": []}
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            try:
                self._popen = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603  # our own arguments, no shell
                    command.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(command.environment),
                    cwd=command.cwd,
                    # Ctrl-C in a terminal reaches the whole foreground group; who stops first is ours to say.
                    start_new_session=True,
                    # The folder stays locked for as long as any of its processes lives, whoever started it.
                    pass_fds=(self._lock,),
                    **identity_of,
                )
            except OSError as error:
                raise LocalStackError(f"{self.name} cannot be started: {error}") from error
        Record(self.pid, identity(self.pid), int(command.stop_signal), self._stage).write(self._record)

    def exit_status(self) -> int | None:
        """None while it runs; else its exit code, negative for the signal that killed it."""
        return self._popen.poll() if self._popen else 0

    def ask_to_stop(self) -> None:
        """Send the stop signal, if it runs."""
        if self._popen and self._popen.poll() is None:
            self._popen.send_signal(self.command.stop_signal)

    def end(self, grace_seconds: float | None = None) -> bool:
        """Wait until it has ended, for at most the grace, then kill it.

        Returns:
            Whether it ended by itself.
        """
        if self._popen is None:
            return True
        obedient = True
        try:
            self._popen.wait(self.command.grace_seconds if grace_seconds is None else grace_seconds)
        except subprocess.TimeoutExpired:
            obedient = False
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
        self._record.unlink(missing_ok=True)
        return obedient

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that the present run wrote to its log."""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - 16_384))
            text = log.read().decode("utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])
