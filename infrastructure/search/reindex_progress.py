"""What a rebuild shows while it runs: a bar for people at a terminal, a line now and then for a log."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

_LINE_SECONDS = 5.0


class Progress(Protocol):
    """Hears how a rebuild goes."""

    def start(self, name: str, *, total: int, done: int) -> None:
        """The index of this name is being filled; it is to hold `total` documents, and has `done` of them."""

    def advance(self, documents: int) -> None:
        """So many more are written."""

    def say(self, message: str) -> None:
        """Something worth knowing happened, or takes time."""


class LineProgress:
    """For a log: every message is a line, and so is the state of things every 5 seconds; none where `quiet`."""

    def __init__(self, console: Console, *, quiet: bool, line_seconds: float = _LINE_SECONDS) -> None:
        self._console = console
        self._quiet = quiet
        self._line_seconds = line_seconds
        self._name, self._total, self._done = "", 0, 0
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def start(self, name: str, *, total: int, done: int) -> None:
        """Print what begins."""
        self._name, self._total, self._done = name, total, done
        self._show()

    def advance(self, documents: int) -> None:
        """Print how far it is, if the last line is old enough."""
        self._done += documents
        if time.monotonic() - self._shown_at >= self._line_seconds:
            self._show()

    def say(self, message: str) -> None:
        """Print the message."""
        if not self._quiet:
            self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        self.say(f"{self._name}: {self._done:,} of {self._total:,} documents")


class BarProgress:
    """A bar for the index at hand with count, rate and time left, and the messages above it."""

    def __init__(self, console: Console) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, name: str, *, total: int, done: int) -> None:
        """Begin a new bar."""
        self._bar.remove_task(self._task)
        self._task = self._bar.add_task(escape(name), total=total, completed=done, already=done)

    def advance(self, documents: int) -> None:
        """Move the bar. Signals that arrived since the beginning are copied too: it grows with them."""
        task = self._bar.tasks[0]
        done = task.completed + documents
        self._bar.update(self._task, completed=done, total=max(done, task.total or 0))

    def say(self, message: str) -> None:
        """Print the message above the bar."""
        self._bar.console.print(message, markup=False, highlight=False)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        copied = task.completed - task.fields.get("already", 0)
        return Text(f"{copied / task.elapsed if task.elapsed else 0:,.0f}/s")


def new_progress(*, quiet: bool) -> BarProgress | LineProgress:
    """A bar where stderr is a terminal, else lines; NO_COLOR is honoured by rich."""
    console = Console(stderr=True)
    if console.is_terminal and not quiet:
        return BarProgress(console)
    return LineProgress(console, quiet=quiet)
