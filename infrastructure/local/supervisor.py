"""Keeps processes running: starts them in groups, restarts what dies, stops them in reverse order."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infrastructure.local.errors import CancelledError, LocalStackError
from infrastructure.local.folder import DataFolder
from infrastructure.local.process import Command, Process

Report = Callable[[str], None]
Cancelled = Callable[[], bool]
"""Asked often, from the loop itself: whether a stop was asked for."""

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0
# Who lived this long died of something new, so the pauses begin anew.
_STABLE_SECONDS = 30.0
_POLL_SECONDS = 0.05


def pause_before_restart(deaths: int) -> float:
    """Seconds to wait after the `deaths`-th early death in a row (from 1): doubling, capped at 5 seconds."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(deaths - 1, 16))


def describe_exit(status: int) -> str:
    """An exit status, as of `subprocess`, in words."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


@dataclass
class _Watched:
    process: Process
    started: float
    deaths: int = 0
    restart_at: float | None = None


class Supervisor:
    """Runs the processes of one data folder, which must be held. Not thread-safe; one loop drives it.

    `report` is told in one line of every restart and every process that had to be killed.
    """

    def __init__(
        self, folder: DataFolder, *, report: Report, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._report = report
        self._clock = clock
        self._groups: list[list[_Watched]] = []

    def start(
        self,
        commands: Sequence[Command],
        *,
        timeout_seconds: float = 120.0,
        cancelled: Cancelled | None = None,
    ) -> None:
        """Start `commands` side by side, as one group, and return once all are ready.

        Raises:
            LocalStackError: one of them ended or is not ready in time; tells the end of its log.
            CancelledError: `cancelled` said so meanwhile.
        """
        group: list[_Watched] = []
        self._groups.append(group)
        for command in commands:
            process = Process(command, self._folder, stage=len(self._groups))
            process.start()
            group.append(_Watched(process, self._clock()))
        deadline = self._clock() + timeout_seconds
        waiting = [watched.process for watched in group]
        while waiting:
            if cancelled and cancelled():
                raise CancelledError
            for watched in group:
                status = watched.process.exit_status()
                if status is not None:
                    raise _failure(watched.process, f"did not start ({describe_exit(status)})")
            self._restart_dead(self._groups[:-1])
            waiting = [process for process in waiting if not process.command.is_ready()]
            if waiting and self._clock() > deadline:
                raise _failure(waiting[0], f"is not ready after {timeout_seconds:.0f} seconds")
            if waiting:
                time.sleep(_POLL_SECONDS)

    def tick(self) -> None:
        """Look once at every process; restart those that died and whose pause is over. Never blocks."""
        self._restart_dead(self._groups)

    def _restart_dead(self, groups: Sequence[Sequence[_Watched]]) -> None:
        now = self._clock()
        for watched in (watched for group in groups for watched in group):
            status = watched.process.exit_status()
            if status is None:
                continue
            if watched.restart_at is None:
                watched.deaths = 1 if now - watched.started >= _STABLE_SECONDS else watched.deaths + 1
                watched.restart_at = now + pause_before_restart(watched.deaths)
                self._report(f"{watched.process.name} ended ({describe_exit(status)}); starting it again")
            if now >= watched.restart_at:
                watched.restart_at = None
                watched.started = now
                try:
                    watched.process.start()
                except LocalStackError as error:  # out of memory or processes for the moment: one more death
                    self._report(error.detail)

    def run(self, cancelled: Cancelled) -> None:
        """Tick until `cancelled` says so."""
        while not cancelled():
            self.tick()
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop everything, the group started last first; within a group all at once. Safe to call again."""
        while self._groups:
            group = [watched.process for watched in self._groups.pop()]
            for process in group:
                process.ask_to_stop()
            begun = self._clock()
            for process in group:
                if not process.end(max(0.0, begun + process.command.grace_seconds - self._clock())):
                    self._report(f"{process.name} did not stop in time and was killed")

    def pid(self, name: str) -> int:
        """The process number of `name`, for tests and for people.

        Raises:
            KeyError: no process has this name.
        """
        for group in self._groups:
            for watched in group:
                if watched.process.name == name:
                    return watched.process.pid
        raise KeyError(name)


def _failure(process: Process, what: str) -> LocalStackError:
    return LocalStackError(f"{process.name} {what}; the end of {process.log}:\n{process.log_tail()}")
