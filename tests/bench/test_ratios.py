"""A regression of performance is noticed: `make bench-quick` runs this, on a machine that does nothing else."""

import sys
import time
from collections.abc import Iterator

import pytest
from rich.console import Console
from suite.baseline import read_baseline, regressions
from suite.bench import Bench, Scope, open_bench
from suite.measuring import Findings
from suite.report import Report
from suite.scenarios import QUICK_SCENARIOS, load

_ATTEMPTS = 3  # machines have moods; a regression is there every time


@pytest.fixture(scope="module")
def report() -> Iterator[Report]:
    report = Report(quick=True)
    yield report
    sys.stdout.write("\n\n")
    report.print(Console())


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with open_bench(lambda line: print(line, file=sys.stderr), Scope(quick=True)) as bench:  # noqa: T201
        yield bench


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", QUICK_SCENARIOS)
def test_no_ratio_falls_behind_its_recorded_baseline(name: str, bench: Bench, report: Report) -> None:
    baseline = read_baseline()
    for _ in range(_ATTEMPTS):
        started = time.monotonic()
        findings: Findings = load(name)(bench)
        report.add(name, findings, time.monotonic() - started)
        assert not findings.problems
        found = regressions(findings.comparisons, baseline)
        if not found:
            break
        bench.note(f"{name}: {'; '.join(found)}")
    assert not found
