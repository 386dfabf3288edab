"""What a backup or a restore shows while it runs: a bar at a terminal, lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

_LINE_SECONDS = 10.0

Advance = Callable[[float], None]


class Steps:
    """Tells the steps of the work; NO_COLOR is honoured by rich.

    Args:
        quiet: shows nothing but warnings.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        # Beside a bar, lines have to go through its console.
        self._warnings = Console(stderr=True) if quiet else self._console

    def say(self, message: str) -> None:
        """Print a line."""
        _print(self._console, message)

    def warn(self, message: str) -> None:
        """Print a line that is not to be missed, though all others are."""
        _print(self._warnings, message)

    @contextmanager
    def step(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Advance]:
        """A step that begins; to be told how much of `total` is done, in units of `unit`."""
        if not self._console.is_terminal:
            yield self._lines(name, total, unit)
            return
        columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
        shown = TextColumn("{task.completed:,.0f} " + unit) if unit else TextColumn("")
        with Progress(*columns, shown, console=self._console, transient=True) as bar:
            task = bar.add_task(name, total=total)
            yield lambda amount: bar.advance(task, amount)

    def _lines(self, name: str, total: float | None, unit: str) -> Advance:
        self.say(name)
        shown_at, done = time.monotonic(), 0.0
        of = f" of {total:,.0f}" if total else ""

        def advance(amount: float) -> None:
            nonlocal shown_at, done
            done += amount
            if unit and time.monotonic() - shown_at > _LINE_SECONDS:
                shown_at = time.monotonic()
                self.say(f"{name}: {done:,.0f}{of} {unit}")

        return advance


def _print(console: Console, message: str) -> None:
    console.print(message, markup=False, highlight=False, soft_wrap=True)
