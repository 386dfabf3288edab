"""The current score of a customer: signal scores that halve every 30 days, kept without a nightly job.

The score at instant *t* is the sum of ``s * 2 ** -((t - a) / H)`` over the customer's signals of score *s* at
instant *a*, with the half-life *H*. Factoring out *t* leaves ``2 ** heat / 2 ** ((t - EPOCH) / H)`` with
``heat = log2(sum(s * 2 ** ((a - EPOCH) / H)))``: heat changes only when a signal arrives, signals may arrive
in any order, and customers rank by heat as they rank by score.
"""

import math
from datetime import UTC, datetime, timedelta

HALF_LIFE = timedelta(days=30)
"""The time in which a signal's weight halves. Stored heats depend on it: changing it needs a migration."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_NEGLIGIBLE = 60  # 2 ** -60 is below the resolution of a double's 53-bit mantissa


def heat(score: float, at: datetime) -> float | None:
    """The heat of a single signal of `score` (0 to 1) at the aware instant `at`; None for a score of 0."""
    if score <= 0:
        return None
    return math.log2(score) + (at - _EPOCH) / HALF_LIFE


def heat_sum(one: float | None, other: float | None) -> float | None:
    """The heat of two sets of signals together; None stands for no heat. Commutative and associative."""
    if one is None or other is None:
        return other if one is None else one
    larger, distance = max(one, other), abs(one - other)
    return larger if distance > _NEGLIGIBLE else larger + math.log2(1 + 2**-distance)


def score_at(heat: float | None, now: datetime) -> float:
    """The score that `heat` amounts to at the aware instant `now`: 0 or more, halving every `HALF_LIFE`."""
    if heat is None:
        return 0.0
    exponent = heat - (now - _EPOCH) / HALF_LIFE
    # Far below what a double can hold it is zero; far above cannot happen, as no signal counts from the future.
    return 2.0 ** min(exponent, 1023.0) if exponent > -1074 else 0.0
