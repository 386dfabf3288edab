"""How tests wait, which decides what they prove on a busy machine."""

import time
from collections.abc import Callable
from typing import Any

import pytest


def test_a_look_begun_in_time_is_not_the_last_one(until: Callable[..., Any]) -> None:
    def slow_at_first() -> bool:
        if time.monotonic() < begun + 0.1:
            time.sleep(0.1)
            return False
        return True

    begun = time.monotonic()
    assert until(slow_at_first, timeout=0.05)


def test_what_does_not_come_true_fails_the_test(until: Callable[..., Any]) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"not true within 0\.05 seconds"):
        until(lambda: False, timeout=0.05)
