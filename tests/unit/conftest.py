"""A clock for the tests here, which can import `scripted_search`, which lies beside them."""

import sys
from pathlib import Path

import pytest
from movable_clock import MovableClock

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def clock() -> MovableClock[float]:
    """Of seconds, as `time.monotonic` tells them."""
    return MovableClock(100.0)
