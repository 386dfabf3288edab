"""Ratios and their goals in one picture, readable on light and on dark ground."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from suite.measuring import Comparison
from suite.report import goal_text, ratio_text, result_text

# Each has a contrast of at least 3.5 to white as well as to GitHub's dark ground.
_TEXT, _REACHED, _MISSED = "#768390", "#2f8f83", "#c9702b"
_LEAST, _MOST = 0.25, 8.0
_INCHES_A_BAR = 0.62
_LABEL_CHARACTERS = 48


def draw(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write ``ratios.png`` and ``ratios.svg`` to `folder`, which is made.

    Bars show how far each ratio is from its goal, on a logarithmic scale, whiskers the spread of the rounds.
    What has no goal has no bar, and is left out unless it is to be in the chart all the same.

    Returns:
        The files; none if there is nothing to show.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    shown = [each for each in comparisons if each.goal is not None or each.in_chart]
    if not shown:
        return []
    # Text stays text, in the reader's own font; and the same figures give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ratios", "font.size": 9}):
        figure = Figure(figsize=(8.5, 1.0 + _INCHES_A_BAR * len(shown)), layout="constrained")
        axes = figure.subplots()
        for row, each in enumerate(shown):
            if each.goal is None:
                low, high = map(ratio_text, each.spread)
                _text(axes, row, 1, f"{ratio_text(each.ratio)}   ({low} … {high}), for information")
            else:
                _bar(axes, row, each)
        _frame(axes, shown)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "ratios.png", folder / "ratios.svg"]
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else None
            figure.savefig(file, transparent=True, dpi=200, metadata=metadata)
    return files


def _bar(axes, row: int, comparison: Comparison) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    length = _clipped(_score(comparison, comparison.ratio))
    ends = sorted(_clipped(_score(comparison, ratio)) for ratio in comparison.spread)
    colour = _REACHED if comparison.reached else _MISSED
    axes.barh(row, length - _LEAST, left=_LEAST, height=0.5, color=colour)
    axes.plot(ends, (row, row), color=_TEXT, linewidth=1, marker="|", markersize=5)
    told = f"{ratio_text(comparison.ratio)}   goal {result_text(comparison)}: {goal_text(comparison)}"
    # Beyond the line of the goal, which would cross it out.
    _text(axes, row, max(length, ends[1], 1), told)


def _text(axes, row: int, beyond: float, text: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    axes.text(beyond * 1.06, row, text, va="center", color=_TEXT)


def _frame(axes, shown: Sequence[Comparison]) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    axes.axvline(1, color=_TEXT, linewidth=1.2, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlim(_LEAST, _MOST * 3)  # room for the words beside the longest bar
    axes.set_xticks([0.25, 0.5, 1, 2, 4, 8], ["¼", "½", "goal", "twice", "4-fold", "8-fold"])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(shown)), [_label(each.title) for each in shown])
    axes.invert_yaxis()
    axes.tick_params(length=0, labelcolor=_TEXT)
    axes.spines[:].set_visible(False)


def _label(title: str) -> str:
    """One contender a line, or more if the line is too long."""
    ours, _, theirs = title.partition(" : ")
    return "\n".join(wrap(ours, _LABEL_CHARACTERS) + wrap(f": {theirs}", _LABEL_CHARACTERS))


def _score(comparison: Comparison, ratio: float) -> float:
    """How many times the goal is reached."""
    assert comparison.goal is not None
    return ratio / comparison.goal if comparison.better == "higher" else comparison.goal / ratio


def _clipped(score: float) -> float:
    return min(max(score, _LEAST * 1.02), _MOST)
