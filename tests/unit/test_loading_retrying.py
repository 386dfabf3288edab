import threading
from datetime import UTC, datetime

import pytest

from infrastructure.loading.errors import LoadError
from infrastructure.loading.retrying import RetryPolicy, StoppedError, retry_after_seconds

NOW = datetime(2024, 1, 1, 12, 0, 0, tzinfo=UTC)


class Pauses(threading.Event):
    """An event that is never set and only notes how long it was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return False


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0.0),
        ("7", 7.0),
        ("Mon, 01 Jan 2024 12:00:30 GMT", 30.0),
        ("Mon, 01 Jan 2024 11:00:00 GMT", 0.0),
        ("soon", 0.0),
        ("-3", 0.0),
    ],
)
def test_both_forms_of_retry_after_are_understood(header: str | None, seconds: float) -> None:
    assert retry_after_seconds(header, NOW) == seconds


def test_waits_grow_and_stay_within_their_bounds() -> None:
    pauses = Pauses()
    retries = RetryPolicy(3600, stop=pauses, monotonic=lambda: 0.0).start()
    for _ in range(10):
        retries.wait("busy")
    for attempt, seconds in enumerate(pauses.seconds):
        ceiling = min(30.0, 0.5 * 2**attempt)
        assert ceiling / 2 <= seconds <= ceiling


def test_retry_after_is_the_least_wait() -> None:
    pauses = Pauses()
    said: list[tuple[str, float]] = []
    policy = RetryPolicy(60, stop=pauses, on_wait=lambda *heard: said.append(heard), monotonic=lambda: 0.0)
    policy.start().wait("busy", "42")
    assert pauses.seconds == [42.0]
    assert said == [("busy", 42.0)]


def test_a_request_is_given_up_when_its_time_is_over() -> None:
    now = 0.0
    retries = RetryPolicy(10, stop=Pauses(), monotonic=lambda: now).start()
    retries.wait("busy")
    now = 9.99
    with pytest.raises(LoadError, match=r"busy\. Gave up after 2 tries"):
        retries.wait("busy")


def test_asking_for_more_time_than_there_is_gives_up_at_once() -> None:
    pauses = Pauses()
    with pytest.raises(LoadError, match="Gave up"):
        RetryPolicy(10, stop=pauses).start().wait("busy", "3600")
    assert pauses.seconds == []


def test_a_stop_ends_the_wait() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        RetryPolicy(60, stop=stop).start().wait("busy")
