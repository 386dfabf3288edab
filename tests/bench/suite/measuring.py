"""Figures that are worth comparing: taken in turns within one run, told as ratios of medians."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal


@dataclass(frozen=True, slots=True)
class Series:
    """The figures of one contender, round by round."""

    name: str
    unit: str
    figures: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return median(self.figures)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two contenders, measured in turns, and the ratio of the first one's median to the second one's.

    `key` names the ratio for good; a recorded baseline refers to it. With `better` "higher" the `goal` is the least
    that the ratio should be, with "lower" the most; without a goal it is told for information, and drawn in the chart
    only if it is `in_chart`.
    """

    key: str
    title: str
    ours: Series
    theirs: Series
    goal: float | None = None
    better: Literal["higher", "lower"] = "higher"
    remark: str = ""
    in_chart: bool = False

    @property
    def ratio(self) -> float:
        """Median to median."""
        return self.ours.median / self.theirs.median

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest ratio of a round; rounds pair up as far as both have figures."""
        ratios = [mine / other for mine, other in zip(self.ours.figures, self.theirs.figures, strict=False)]
        return min(ratios), max(ratios)

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.better == "higher" else self.ratio <= self.goal


@dataclass(slots=True)
class Findings:
    """What one scenario found: ratios, further figures for people, and what should make the run fail.

    `figures` maps a name to a value with its unit in words, such as ``{"API, peak resident": "84 MiB"}``. `problems`
    are for what makes the figures worthless, such as a lost event; a goal that was missed is none.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


Contender = Callable[[int], float]
"""Does its work once and returns its figure. The argument is the number of the round, 0 being the warm-up."""


def in_turns(
    contenders: Mapping[str, Contender],
    rounds: int,
    *,
    unit: str,
    note: Callable[[str], None] = lambda _line: None,
    warm_up: bool = True,
) -> dict[str, Series]:
    """Run all contenders `rounds` times in turns, and a first time whose figures do not count.

    Who comes first changes from round to round, so that what changes with time, or is left by the one before, hits all
    alike.

    Args:
        contenders: by name.
        rounds: how many figures each of them gets.
        unit: of their figures.
        note: is told each figure, in a line.
        warm_up: whether there is a round 0.
    """
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(0 if warm_up else 1, rounds + 1):
        for name in _rotated(list(contenders), number):
            figure = contenders[name](number)
            note(f"{'warm-up' if number == 0 else f'round {number}'}: {name}: {figure:,.6g} {unit}")
            if number:
                figures[name].append(figure)
    return {name: Series(name, unit, tuple(found)) for name, found in figures.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` (0 to 1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def _rotated(names: list[str], by: int) -> list[str]:
    by %= len(names)
    return names[by:] + names[:by]
