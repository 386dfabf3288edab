"""Who runs: records of started processes that outlive a killed supervisor, and what to do with those left."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from infrastructure.local.environment_file import write_private
from infrastructure.local.errors import LocalStackError

_REAPED_SECONDS = 20.0  # on a busy machine; where nobody ever does it, waiting on is in vain


def identity(pid: int) -> str | None:
    """A mark of the living process `pid` that no later process with the same number has; None if it is gone.

    A zombie is gone: only its parent, who may be somebody else, can remove it.
    """
    found = _look_up(pid)
    return None if found is None or found.is_zombie else found.mark


class _Found(NamedTuple):
    """What the system says of a number."""

    mark: str
    is_zombie: bool
    parent: int


def _look_up(pid: int) -> _Found | None:
    try:
        # The command's name, in brackets, may hold anything, brackets and spaces included.
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        return _look_up_by_ps(pid)
    return _Found(f"{boot}/{fields[19]}", fields[0] in "ZX", int(fields[1]))


def _look_up_by_ps(pid: int) -> _Found | None:
    # macOS has no /proc.
    told = subprocess.run(  # noqa: S603  # an argument list of our own, no shell
        ["/bin/ps", "-o", "stat=,ppid=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    )
    if not told.stdout.strip():
        return None
    state, parent, started = told.stdout.split(maxsplit=2)
    return _Found(started.strip(), state.startswith("Z"), int(parent))


@dataclass(frozen=True)
class Record:
    """A process that was started; kept in a file until it has ended.

    `mark` is its `identity`; `stop_signal` is the one that stops it in good order. What was started in a
    later `stage` uses what was started in an earlier one.
    """

    pid: int
    mark: str | None
    stop_signal: int
    stage: int

    def write(self, path: Path) -> None:
        """Keep the record in the file `path`."""
        write_private(path, json.dumps(asdict(self)))

    @property
    def is_running(self) -> bool:
        """Whether this very process still lives."""
        return self.mark is not None and identity(self.pid) == self.mark

    @property
    def is_unnoticed(self) -> bool:
        """Whether this very process has ended, and another process whose child it is has not taken note of it yet."""
        found = _look_up(self.pid)
        return found is not None and found[:2] == (self.mark, True) and found.parent != os.getpid()


def stop_recorded(run: Path, *, grace_seconds: float = 20.0) -> list[str]:
    """End the processes recorded in the folder `run` that a killed stack left behind, and drop the records.

    Stops the last stage first, each with a grace of its own. Then waits for a moment until whoever has inherited them
    has taken note of their end: until then PostgreSQL takes its predecessor's number for that of a living one, and does
    not start.

    Returns:
        The names of those that were still running.

    Raises:
        LocalStackError: one of them belongs to another user.
    """
    records = {path: Record(**json.loads(path.read_text(encoding="utf-8"))) for path in run.glob("*.json")}
    running = {path.stem: record for path, record in sorted(records.items()) if record.is_running}
    for stage in sorted({record.stage for record in running.values()}, reverse=True):
        _stop({name: record for name, record in running.items() if record.stage == stage}, grace_seconds)
    deadline = time.monotonic() + _REAPED_SECONDS
    while any(record.is_unnoticed for record in records.values()) and time.monotonic() < deadline:
        time.sleep(0.02)
    for path in records:
        path.unlink(missing_ok=True)
    return list(running)


def _stop(records: Mapping[str, Record], grace_seconds: float) -> None:
    for name, record in records.items():
        try:
            os.kill(record.pid, record.stop_signal)
        except ProcessLookupError:
            continue
        except PermissionError as error:
            raise LocalStackError(
                f"process {record.pid} ({name}) of this folder is another user's"
            ) from error
    deadline = time.monotonic() + grace_seconds
    for record in records.values():
        while record.is_running:
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record.pid, signal.SIGKILL)
            time.sleep(0.02)
