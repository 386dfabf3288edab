"""What a load shows while it runs: a bar for people at a terminal, a line now and then for a log."""

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text


class Progress(Protocol):
    """Hears how the load goes; called from several threads."""

    def advance(self, *, events: int, position: int) -> None:
        """`events` more were answered for; the file is done up to `position`, in stored bytes."""

    def say(self, message: str) -> None:
        """Something that takes time is under way."""


class LineProgress:
    """No bar: messages go out as lines, or nowhere where `quiet`; none is repeated."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def advance(self, *, events: int, position: int) -> None:
        """Nothing to show."""

    def say(self, message: str) -> None:
        """Print the message, unless it was the last one."""
        if not self._quiet and message != self._last:
            self._console.print(message, markup=False, highlight=False)
        self._last = message


class BarProgress:
    """A bar with percentage, count, rate and time left; the share of bytes read stands for that of events.

    `size` is the file's in bytes, None where unknown: then only count, rate and time passed are shown.
    """

    def __init__(self, console: Console, *, size: int | None) -> None:
        known = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) if size else (TimeElapsedColumn(),)
        self._bar = Bar(
            TextColumn("{task.fields[events]:,} events"),
            _Rate(),
            *known,
            TextColumn("[yellow]{task.fields[message]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=size, events=0, message="")
        self._events = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, *, events: int, position: int) -> None:
        """Move the bar; batches may be answered out of order, so it never goes back."""
        self._events += events
        done = max(self._bar.tasks[0].completed, position)
        self._bar.update(self._task, completed=done, events=self._events, message="")

    def say(self, message: str) -> None:
        """Show the message beside the bar until it moves again."""
        self._bar.update(self._task, message=escape(message))


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = task.fields["events"] / task.elapsed if task.elapsed else 0.0
        return Text(f"{rate:,.0f}/s")


def new_progress(*, size: int | None, bar: bool, quiet: bool) -> BarProgress | LineProgress:
    """A bar where `bar` is wanted and stderr is a terminal, else lines; NO_COLOR is honoured by rich."""
    console = Console(stderr=True)
    if bar and not quiet and console.is_terminal:
        return BarProgress(console, size=size)
    return LineProgress(console, quiet=quiet)
