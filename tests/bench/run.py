"""The benchmark suite: what the platform does, as ratios to what else the same machine does in the same run.

Run it as ``make bench``, or ``python tests/bench/run.py --help``.
"""

import json
import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from suite.baseline import BASELINE, record_baseline
from suite.bench import Bench, Scope, open_bench
from suite.measuring import Findings
from suite.report import Report
from suite.scenarios import QUICK_SCENARIOS, SCENARIOS, ScenarioError, load


def main(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SCENARIO]...", help=f"Which to run: {', '.join(SCENARIOS)}; by default all."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"Measure less; by default only {', '.join(QUICK_SCENARIOS)}.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write all figures to this file, as JSON.")
    ] = None,
    chart: Annotated[
        Path | None, typer.Option("--chart", metavar="DIR", help="Draw ratios.png and ratios.svg in there.")
    ] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record-baseline",
            help="Record the ratios that later runs of `make bench-quick` are held against; implies --quick.",
        ),
    ] = False,
) -> None:
    """Measure the platform side by side with its limits and with what people would use instead.

    Everything runs on this machine, on the same servers, in turns, in a temporary folder and on free ports. Absolute
    figures are the machine's, ratios are the software's. Leave the machine alone meanwhile.

    Exit code 0 if all figures can be trusted, whether goals are reached or missed; 1 if not, for instance because an
    event was lost. Ctrl-C ends the run; what was found so far is reported.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so it stops the servers, too
    scope = Scope(quick=quick or record)
    names = scenarios or (QUICK_SCENARIOS if scope.quick else SCENARIOS)
    progress, console = Console(stderr=True), Console()
    try:
        for name in names:
            load(name)
    except ScenarioError as error:
        raise typer.BadParameter(str(error)) from None

    def note(line: str) -> None:
        progress.print(line, markup=False, highlight=False, soft_wrap=True)

    found = Report(quick=scope.quick)
    try:
        with open_bench(note, scope) as bench:
            for name in names:
                _measure(bench, name, found)
    except KeyboardInterrupt:
        note("interrupted: what follows is all there is")
    found.print(console)
    if report:
        report.write_text(json.dumps(found.as_dict(), indent=2) + "\n", encoding="utf-8")
    if chart:
        from suite.chart import draw  # matplotlib comes with the peers

        for file in draw(found.comparisons, chart):
            note(f"drawn: {file}")
    if record and not found.problems:
        record_baseline(found.comparisons)
        note(f"recorded: {BASELINE}")
    raise typer.Exit(1 if found.problems or len(found.findings) < len(names) else 0)


def _measure(bench: Bench, name: str, report: Report) -> None:
    bench.note(f"-- {name}")
    started = time.monotonic()
    try:
        findings = load(name)(bench)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other scenarios are run and the report is written
        Console(stderr=True).print_exception()
        findings = Findings(problems=[f"failed: {error!r}"])
    report.add(name, findings, time.monotonic() - started)


if __name__ == "__main__":
    typer.run(main)
