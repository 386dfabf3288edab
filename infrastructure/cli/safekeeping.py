"""What the commands about backups and archives share: how they end, and who hears of it."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from infrastructure.safekeeping.errors import BackupError
from infrastructure.safekeeping.report import report
from infrastructure.safekeeping.settings import BackupSettings

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@contextmanager
def exit_codes(
    interrupted: str = "Interrupted. No backup was made, and no database was replaced.",
) -> Iterator[None]:
    """End the command with the exit code of what is wrong with a backup, and a line that says it.

    A command that is told to stop, by Ctrl-C or SIGTERM, cleans up first, and says so by `interrupted`.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except BackupError as error:
        typer.echo(f"sspp: {error.detail} [{error.code}]", err=True)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        typer.echo(interrupted, err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def run_reported(settings: BackupSettings, job: str) -> Iterator[Callable[[dict[str, float]], None]]:
    """Tell Prometheus how the run ended; and, by what is yielded, what its success amounts to."""
    started, success = time.monotonic(), 0.0
    try:
        yield lambda values: report(settings, job, "success", values)
        success = 1.0
    finally:
        report(
            settings,
            job,
            "run",
            {
                "last_run_timestamp_seconds": time.time(),
                "last_run_success": success,
                "last_run_duration_seconds": time.monotonic() - started,
            },
        )
