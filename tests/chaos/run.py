"""The chaos suite: a real stack under load, random faults, and an oracle of conservation and liveness.

Run it as ``make chaos``, or ``python tests/chaos/run.py --help``.
"""

import json
import secrets
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated, Self

import typer
from harness.faults import FAULTS
from harness.report import Outcome, Report
from harness.session import Plan, Session
from harness.stack import Stack
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

# That of the tests' servers: a later test run ends and removes what a killed one left behind.
_RUNNING_PREFIX, _KEPT_PREFIX = "sspp-test-chaos-", "sspp-chaos-"

# A server that dies every minute shall not have two minutes checked each time; it forgets a second at most.
# The share so small that much of what tenants send takes the second stream of their lane.
_SETTINGS = {"SSPP_INDEX_RESEND_SECONDS": "20", "SSPP_LANE_SHARE_BYTES": "4000"}


class StopRequest:
    """Set by the first SIGINT or SIGTERM; a second one ends the run at once. A plain flag: no lock is taken."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __call__(self) -> bool:
        return self.asked


class ProgressScreen:
    """A bar for people at a terminal, a line a fault for a log."""

    def __init__(self, console: Console, faults: int, log: Path) -> None:
        self._console = console
        self._log = log
        self._bar = Progress(
            TextColumn("{task.fields[phase]:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("faults, {task.fields[acknowledged]:,} events"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=faults, phase="", acknowledged=0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def phase(self, what: str) -> None:
        """Something new has begun."""
        self.note(f"-- {what}")
        self._bar.update(self._task, phase=what)

    def fault(self, outcome: Outcome, acknowledged: int) -> None:
        """A fault is over and recovered from."""
        times = " ".join(
            f"{name} {'-' if value is None else f'{value:.1f}'}"
            for name, value in {
                "took": outcome.took,
                "accepted": outcome.accepted,
                "stored": outcome.stored,
                "finished": outcome.finished,
            }.items()
        )
        parameters = " ".join(f"{name}={value}" for name, value in outcome.parameters.items())
        line = f"{outcome.number:>4} {outcome.fault:<24} {times}  {parameters}"
        if outcome.problem:
            line += f"  BROKEN: {outcome.problem}"
        self.note(line)
        if outcome.problem or not self._console.is_terminal:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._bar.update(self._task, advance=1, acknowledged=acknowledged)

    def note(self, line: str) -> None:
        """Add a line to the harness's own log."""
        stamp = time.strftime("%H:%M:%S", time.gmtime()) + f"{time.time() % 1:.3f}"[1:]
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{stamp} {line}\n")


def main(  # noqa: PLR0917 - typer passes options by name
    duration: Annotated[
        float, typer.Option(min=1, help="Start no new fault after so many seconds of faults.")
    ] = 1200,
    faults: Annotated[int, typer.Option(min=0, help="How many faults at most.")] = 200,
    seed: Annotated[
        int | None,
        typer.Option(help="Of the random sequence of faults; by default a new one, which is told."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the report to this file, as JSON.")
    ] = None,
    clients: Annotated[int, typer.Option(min=1, max=64, help="How many clients send at once.")] = 6,
    rate: Annotated[
        float, typer.Option(min=1, help="Events a second that all clients aim at together.")
    ] = 300,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Only faults of this kind; repeatable. See --kinds."),
    ] = None,
    liveness: Annotated[
        float, typer.Option(min=0.5, help="SSPP_LIVENESS_SECONDS of the platform under test.")
    ] = 5.0,
    throughput_events: Annotated[
        int,
        typer.Option(min=0, help="How many events measure the throughput, in each of five rounds; 0: none."),
    ] = 6_000,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep logs and data even if the promise was kept.")
    ] = False,
    kinds: Annotated[bool, typer.Option("--kinds", help="List the kinds of faults and exit.")] = False,
) -> None:
    """Run the platform under load, do all kinds of harm to it, and see whether it keeps its promise.

    An event answered with 202 is stored exactly once and becomes searchable, whatever process dies; fresh events
    are accepted again as soon as a fault is over. Everything runs on this machine, in a temporary folder, on free
    ports. The same seed gives the same kinds of faults with the same parameters; timing is the system's own.

    Exit code 0 if the promise was kept, 1 if not; Ctrl-C ends the faults, and what was done so far is reported.
    """
    console = Console()
    if kinds:
        console.print(_kinds())
        raise typer.Exit
    if unknown := set(only or ()) - {fault.name for fault in FAULTS}:
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: no such kind; see --kinds", param_hint="--only"
        )
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    plan = Plan(
        seed=seed,
        faults=faults,
        duration=duration,
        clients=clients,
        rate=rate,
        only=frozenset(only or ()),
        throughput_rounds=5 if throughput_events else 0,
        throughput_events=throughput_events,
    )
    found = Report(seed=seed, clients=clients, rate=rate)
    console.print(f"seed {seed}", highlight=False)
    folder = _run(plan, found, console, liveness=liveness)
    if keep or not found.passed:
        found.evidence = str(_kept(folder))
    else:
        _remove(folder)
    if report:
        report.write_text(json.dumps(found.as_dict(), indent=2) + "\n", encoding="utf-8")
    found.print(console)
    raise typer.Exit(0 if found.passed else 1)


def _run(plan: Plan, found: Report, console: Console, *, liveness: float) -> Path:
    """Run `plan`; the folder of the stack, which is stopped by then."""
    stopped = StopRequest()
    path = Path(tempfile.mkdtemp(prefix=_RUNNING_PREFIX))
    path.chmod(0o711)  # closed to others, but for the account that PostgreSQL runs as under root
    with ProgressScreen(console, plan.faults, path / "chaos.log") as screen:
        stack = Stack(path, _SETTINGS | {"SSPP_LIVENESS_SECONDS": str(liveness)}, screen.note)
        try:
            Session(stack, plan, found, screen, stopped).run()
        except KeyboardInterrupt:
            found.interrupted = True
            found.problems.append("ended by a second signal, before the reckoning")
        except Exception as error:  # noqa: BLE001 - whatever it is, the stack is stopped and the report written
            console.print_exception()
            found.problems.append(f"the run itself failed: {error!r}")
        finally:
            screen.phase("stopping the stack")
            stack.stop()
    return path


def _kept(folder: Path) -> Path:
    """`folder` under a name by which no test run removes it."""
    return folder.rename(folder.with_name(_KEPT_PREFIX + folder.name.removeprefix(_RUNNING_PREFIX)))


def _remove(folder: Path) -> None:
    home = folder / "postgres"
    if home.is_symlink():  # where root's PostgreSQL cannot reach the folder
        shutil.rmtree(home.resolve(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _kinds() -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("kind", "family", "what it does"):
        table.add_column(heading)
    for fault in FAULTS:
        table.add_row(fault.name, fault.family, fault.inflict.__doc__)
    return table


if __name__ == "__main__":
    typer.run(main)
