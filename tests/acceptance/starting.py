"""Starting ``sspp up`` as somebody would who has nothing but the installation, once for all who share it."""

import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_START_SECONDS = 240
_STOP_SECONDS = 120
_OPTIONS = ("--workers", "2")


class Starter:
    """Starts ``sspp up`` in a new folder, and returns when its environment file is there."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sspp-test-"))
        # PostgreSQL's account has to get in when root runs the tests.
        self.folder.chmod(0o711)
        self._output = self.folder / "up.log"
        self._usual_options = (*_OPTIONS, f"--port={_free_port()}")
        self.start()

    def start(self, *options: str) -> None:
        """Start it, again if it has ended; with these options instead of the usual ones."""
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [program("sspp"), "up", *("--data-dir", str(self.folder)), *(options or self._usual_options)],
                env={**bare_environment(), "LOG_FORMAT": "json"},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not (self.folder / "env").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                status = self._process.poll()
                self.stop(expected=status)
                pytest.fail(f"sspp up did not start ({status}):\n{self._said}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Let all of its processes die at once."""
        pids = [json.loads(record.read_text())["pid"] for record in (self.folder / "run").glob("*.json")]
        self._process.kill()
        self._process.wait()
        for pid in pids:
            os.killpg(pid, signal.SIGKILL)
        (self.folder / "env").unlink()

    def end(self) -> None:
        """Ask it to stop, and see that it ends well; its data stays."""
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(_STOP_SECONDS) == 0, self._output.read_text()
        (self.folder / "env").unlink()

    def stop(self, expected: int | None = 0) -> None:
        """Ask it to stop, see that it ends well, and remove its data."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._said = self._output.read_text()
        if status == 0 or expected != 0:
            shutil.rmtree(self.folder, ignore_errors=True)
        if expected == 0:
            assert status == 0, self._said


@contextmanager
def shared(meeting_point: Path) -> Iterator[Path]:
    """The data folder of one platform for all test processes that have the same `meeting_point`.

    Whoever comes first starts it. As only a parent learns an exit code, the same one stops it, once the others,
    who hold the file of users, have gone.
    """
    election, users, address = (
        meeting_point / f"platform.{name}" for name in ("election", "users", "address")
    )
    starter: Starter | None = None
    with ExitStack() as membership:
        with locked(election, fcntl.LOCK_EX):
            if not address.exists():
                starter = Starter()
                address.write_text(str(starter.folder))
            membership.enter_context(locked(users, fcntl.LOCK_SH))
        yield Path(address.read_text())
    if starter:
        with locked(election, fcntl.LOCK_EX), locked(users, fcntl.LOCK_EX):
            address.unlink()
            starter.stop()


@contextmanager
def locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, kind)
        yield


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def bare_environment() -> dict[str, str]:
    """Nothing that concerns the platform: not the servers, either, that may be given for other tests."""
    kept = ("PATH", "HOME", "USER", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C.UTF-8"}


def read_environment(path: Path) -> dict[str, str]:
    words = (shlex.split(line) for line in path.read_text(encoding="utf-8").splitlines())
    return dict(word.split("=", 1) for line in words for word in line)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
