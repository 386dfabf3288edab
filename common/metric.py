"""What an entry of the catalogue of metrics says."""

from dataclasses import dataclass, field
from typing import Literal

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Buckets of a histogram of durations."""

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Buckets of a histogram of how many there were."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One entry of the catalogue: its Prometheus name, kind, help text, labels and buckets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = field(default=SECONDS, repr=False)
