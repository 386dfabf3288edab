"""How long to wait before the same request is tried again, and when to give up."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from common.clock import Clock, system_clock
from infrastructure.loading.errors import LoadError

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0


class StoppedError(LoadError):
    """The load was told to stop."""

    code = "stopped"


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with jitter, for `retry_for` seconds a request, honouring ``Retry-After``.

    `stop` ends every wait at once. `on_wait` hears the reason and the seconds of each wait, from any thread.
    """

    retry_for: float = 300.0
    stop: threading.Event = field(default_factory=threading.Event)
    on_wait: Callable[[str, float], None] = lambda _reason, _seconds: None
    clock: Clock = system_clock
    monotonic: Callable[[], float] = time.monotonic

    def start(self) -> "Retries":
        """Begin the attempts of one request."""
        return Retries(self, self.monotonic() + self.retry_for)


@dataclass
class Retries:
    """The attempts of one request."""

    _policy: RetryPolicy
    _deadline: float
    _attempts: int = 0

    def wait(self, reason: str, retry_after: str | None = None) -> None:
        """Wait before the next attempt, at least as long as the header `retry_after` asks for.

        Raises:
            LoadError: the next attempt would come too late; the message holds `reason`.
            StoppedError: the load was told to stop.
        """
        backoff = min(_LONGEST_DELAY, _FIRST_DELAY * 2**self._attempts) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._attempts += 1
        delay = max(backoff, retry_after_seconds(retry_after, self._policy.clock()))
        if self._policy.monotonic() + delay > self._deadline:
            raise LoadError(f"{reason}. Gave up after {self._attempts} tries; see --retry-for.")
        self._policy.on_wait(reason, delay)
        if self._policy.stop.wait(delay):
            raise StoppedError


def retry_after_seconds(header: str | None, now: datetime) -> float:
    """The wait that a ``Retry-After`` asks for, in either of its forms; 0 where it says nothing sensible."""
    if header is None:
        return 0.0
    if header.strip().isdecimal():
        return float(header)
    try:
        instant = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
