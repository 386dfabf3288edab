"""The data folder of one local stack: who holds it, its ports and passwords, its logs."""

import fcntl
import json
import os
import secrets
import time
from pathlib import Path

from infrastructure.local.environment_file import write_private
from infrastructure.local.errors import FolderBusyError, LocalStackError
from infrastructure.local.ports import free_port
from infrastructure.local.records import identity, stop_recorded


class DataFolder:
    """A folder that keeps one stack's state: made if missing, held by one process at a time.

    ``state.json`` (mode 0600) keeps ports, passwords and keys, so that a restart finds them again. The lock is
    inherited by every child: it is free only when no process of the stack is left, even if whoever started
    them was killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.run = self.path / "run"
        self.environment_file = self.path / "env"
        self.descriptor = -1
        self._state_file = self.path / "state.json"

    def hold(self, *, patience_seconds: float = 5.0) -> list[str]:
        """Take the folder for this process, ending what a killed predecessor left running.

        The environment file of last time goes: whoever waits for it must find that of the coming stack.

        Returns:
            The names of the left-over processes that were ended.

        Raises:
            FolderBusyError: another stack runs on the folder.
            LocalStackError: the folder cannot be used.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for private in (self.logs, self.run):
                private.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LocalStackError(f"the data folder {self.path} cannot be used: {error.strerror}") from error
        ended: list[str] = []
        deadline = time.monotonic() + patience_seconds
        while not self._try_lock(descriptor):
            holder = self._living_holder(descriptor)
            if holder is None:
                self.environment_file.unlink(missing_ok=True)
                if stopped := stop_recorded(self.run):
                    ended += stopped
                    deadline = time.monotonic() + patience_seconds
                    continue
            if holder is not None or time.monotonic() > deadline:
                os.close(descriptor)
                who = f"process {holder}" if holder else "a process that an earlier one left behind"
                raise FolderBusyError(f"another sspp up ({who}) is using {self.path}; stop it first")
            time.sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {identity(os.getpid())}".encode(), 0)
        self.descriptor = descriptor
        self.environment_file.unlink(missing_ok=True)
        return ended + stop_recorded(self.run)

    def release(self) -> None:
        """Give the folder free; call it when its processes have ended."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    @staticmethod
    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    @staticmethod
    def _living_holder(descriptor: int) -> int | None:
        pid, _, mark = os.pread(descriptor, 200, 0).decode().partition(" ")
        return int(pid) if pid and identity(int(pid)) == mark else None

    def port(self, name: str, *preferred: int) -> int:
        """A free port for `name`: the one of last time, a `preferred` one, or any; kept for next time."""
        last = self.last_port(name)
        port = free_port(*([last] if last else []), *preferred)
        self.remember("ports", name, str(port))
        return port

    def last_port(self, name: str) -> int | None:
        """The port that `name` was given last, None if it never got one."""
        told = self.recall("ports", name)
        return int(told) if told else None

    def password(self, name: str) -> str:
        """The password of `name`: random, safe within a URL, made once and kept."""
        password = self.recall("passwords", name) or secrets.token_urlsafe(24)
        self.remember("passwords", name, password)
        return password

    def recall(self, section: str, name: str) -> str | None:
        """What was remembered last under `section` and `name`."""
        return self._read().get(section, {}).get(name)

    def remember(self, section: str, name: str, value: str) -> None:
        """Keep `value` in the folder, across restarts; only the folder's owner can read it."""
        state = self._read()
        if state.setdefault(section, {}).get(name) != value:
            state[section][name] = value
            write_private(self._state_file, json.dumps(state, indent=1))

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            state: dict[str, dict[str, str]] = json.loads(self._state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return state
