"""Waiting for what has to happen."""

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


class StuckError(Exception):
    """Something did not happen in time; the message says what."""


def wait_for(condition: Callable[[], _T | None], timeout: float, what: str, *, pause: float = 0.02) -> _T:
    """Poll `condition` until it is truthy and return that value.

    Raises:
        StuckError: not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise StuckError(f"waited {timeout:.0f} seconds for {what}")
        time.sleep(pause)
    return value
