"""The ratios that were once recorded, and whether today's have fallen behind them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from suite.machine import commit
from suite.measuring import Comparison
from suite.report import ratio_text

BASELINE = Path(__file__).parents[1] / "baseline.json"
"""Recorded by ``run.py --quick --record-baseline``."""

TOLERATED_SHARE = 0.7
"""A ratio below this share of its baseline is a regression; what is above may be the machine's mood."""


def read_baseline(path: Path = BASELINE) -> dict[str, float]:
    """The recorded ratios by the keys of their comparisons; none if nothing was ever recorded."""
    if not path.exists():
        return {}
    ratios: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["ratios"]
    return ratios


def record_baseline(comparisons: Iterable[Comparison], path: Path = BASELINE) -> None:
    """Write down the ratios of `comparisons`; those that were not measured this time stay as they are."""
    ratios = read_baseline(path) | {each.key: round(each.ratio, 4) for each in comparisons}
    told: dict[str, Any] = {"commit": commit(), "ratios": dict(sorted(ratios.items()))}
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def regressions(comparisons: Iterable[Comparison], baseline: Mapping[str, float]) -> list[str]:
    """What has fallen behind `baseline`, one line each; also what has no baseline, which nobody would notice else."""
    found = []
    for each in comparisons:
        recorded = baseline.get(each.key)
        if recorded is None:
            found.append(f"{each.key}: no baseline is recorded")
        elif _share(each, recorded) < TOLERATED_SHARE:
            found.append(
                f"{each.key}: {ratio_text(each.ratio)} is {_share(each, recorded):.0%} of the recorded"
                f" {ratio_text(recorded)}, less than {TOLERATED_SHARE:.0%}"
            )
    return found


def _share(comparison: Comparison, recorded: float) -> float:
    """How good it is, the recorded ratio being 1."""
    return comparison.ratio / recorded if comparison.better == "higher" else recorded / comparison.ratio
