"""Lets the tests here import the suite, as `run.py` does by lying beside it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from suite.measuring import Comparison, Series

# Measures for minutes, which only makes sense on a machine that does nothing else: `make bench-quick` names it.
collect_ignore = ["test_ratios.py"]


@pytest.fixture(scope="session")
def compared() -> Callable[..., Comparison]:
    """Makes a comparison of figures, round by round."""

    def compare(
        ours: tuple[float, ...],
        theirs: tuple[float, ...],
        *,
        goal: float | None = None,
        better: str = "higher",
    ) -> Comparison:
        unit = "events/s"
        return Comparison(
            "key",
            "Ours : theirs",
            Series("ours", unit, ours),
            Series("theirs", unit, theirs),
            goal=goal,
            better=better,  # type: ignore[arg-type]
        )

    return compare
