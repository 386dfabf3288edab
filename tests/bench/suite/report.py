"""What a run found, for machines and for people."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from suite.machine import commit, facts
from suite.measuring import Comparison, Findings, Series

_COLOURS = {"reached": "green", "missed": "yellow", "": "none"}


@dataclass(slots=True)
class Report:
    """The findings of a run, by scenario."""

    quick: bool
    findings: dict[str, Findings] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, scenario: str, findings: Findings, seconds: float) -> None:
        """Take in what a scenario found, and how long it took."""
        self.findings[scenario] = findings
        self.seconds[scenario] = seconds

    @property
    def comparisons(self) -> list[Comparison]:
        """Those of all scenarios."""
        return [each for findings in self.findings.values() for each in findings.comparisons]

    @property
    def problems(self) -> list[str]:
        """What makes figures worthless, each with the name of its scenario."""
        return [f"{name}: {each}" for name, findings in self.findings.items() for each in findings.problems]

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file: when, what, where, and every single figure."""
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "quick": self.quick,
            "machine": facts(),
            "scenarios": [
                {
                    "name": name,
                    "seconds": round(self.seconds[name], 1),
                    "comparisons": [_comparison(each) for each in findings.comparisons],
                    "figures": findings.figures,
                    "problems": findings.problems,
                }
                for name, findings in self.findings.items()
            ],
            "reached": [each.key for each in self.comparisons if each.reached],
            "missed": [each.key for each in self.comparisons if each.reached is False],
            "problems": self.problems,
        }

    def print(self, console: Console) -> None:
        """Print the ratios, then what else was found, then, loudly, what is wrong."""
        console.print(_ratios(self.comparisons))
        for line in _more(self.findings):
            console.print(line, highlight=False, soft_wrap=True)
        if self.problems:
            console.print()
            console.print("[bold red]THESE FIGURES ARE WORTH NOTHING:[/]")
            for problem in self.problems:
                console.print(f"[red]- {escape(problem)}[/]", highlight=False, soft_wrap=True)


def ratio_text(value: float) -> str:
    """A ratio in as many digits as mean something: 0.583, 17.4, 1,930."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def goal_text(comparison: Comparison) -> str:
    """The goal in words; empty without one."""
    if comparison.goal is None:
        return ""
    goal = f"{comparison.goal:,g}" if comparison.goal < 1e6 else f"{comparison.goal:,.0f}"
    return f"{'at least' if comparison.better == 'higher' else 'at most'} {goal}"


def result_text(comparison: Comparison) -> str:
    """``reached`` or ``missed``; empty without a goal."""
    return {True: "reached", False: "missed", None: ""}[comparison.reached]


def _ratios(comparisons: list[Comparison]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("spread", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("of", ratio=1)
    for each in comparisons:
        (low, high), result = each.spread, result_text(each)
        table.add_row(
            f"[bold]{ratio_text(each.ratio)}[/]",
            f"{ratio_text(low)} … {ratio_text(high)}",
            goal_text(each),
            f"[{_COLOURS[result]}]{result}[/]",
            escape(each.title),
        )
    return table


def _more(findings: dict[str, Findings]) -> Iterator[str]:
    for name, found in findings.items():
        if not found.comparisons and not found.figures:
            continue
        remarks = dict.fromkeys(each.remark for each in found.comparisons if each.remark)
        yield f"\n[bold]{name}[/]" + "".join(f" · {escape(remark)}" for remark in remarks)
        for each in found.comparisons:
            medians = f"{_figure(each.ours.median)} : {_figure(each.theirs.median)} {each.ours.unit}"
            yield f"  {escape(f'{each.ours.name} : {each.theirs.name}')}: {escape(medians)}"
        for what, value in found.figures.items():
            yield f"  {escape(what)}: {escape(value)}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "key": comparison.key,
        "title": comparison.title,
        "ratio": comparison.ratio,
        "spread": list(comparison.spread),
        "goal": comparison.goal,
        "better": comparison.better,
        "result": result_text(comparison) or None,
        "remark": comparison.remark,
        "ours": _series(comparison.ours),
        "theirs": _series(comparison.theirs),
    }


def _series(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "unit": series.unit,
        "median": series.median,
        "figures": list(series.figures),
    }
