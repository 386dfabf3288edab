import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.scoring import HALF_LIFE, heat, heat_sum, score_at

NOW = datetime(2026, 11, 21, tzinfo=UTC)

scores = st.floats(0.01, 1)
ages = st.timedeltas(timedelta(0), timedelta(days=3000))


def test_a_fresh_signal_counts_in_full_and_half_after_each_half_life() -> None:
    hot = heat(0.8, NOW)

    assert score_at(hot, NOW) == pytest.approx(0.8)
    assert score_at(hot, NOW + HALF_LIFE) == pytest.approx(0.4)
    assert score_at(hot, NOW + 3 * HALF_LIFE) == pytest.approx(0.1)


@given(st.lists(st.tuples(scores, ages), min_size=1, max_size=20), st.randoms())
def test_the_sum_is_that_of_the_decayed_scores_in_any_order(
    signals: list[tuple[float, timedelta]], random: "object"
) -> None:
    expected = math.fsum(score * 2 ** -(age / HALF_LIFE) for score, age in signals)
    shuffled = sorted(signals, key=lambda _: random.random())  # type: ignore[attr-defined]
    total = None
    for score, age in shuffled:
        total = heat_sum(total, heat(score, NOW - age))

    assert score_at(total, NOW) == pytest.approx(expected, rel=1e-6)


def test_no_signal_and_a_signal_of_score_zero_are_no_heat() -> None:
    assert heat(0, NOW) is None
    assert heat_sum(None, None) is None
    assert score_at(None, NOW) == 0.0


def test_decades_neither_overflow_nor_underflow() -> None:
    ancient = heat(1, datetime(1, 1, 1, tzinfo=UTC))
    far = heat(1, datetime(9999, 12, 31, tzinfo=UTC))

    assert score_at(ancient, NOW) == 0.0
    assert heat_sum(ancient, far) == far
    assert math.isfinite(score_at(far, NOW))
