"""Time, injected: code asks a `Clock`, tests hand in one that they move."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present instant as an aware datetime in UTC."""


def system_clock() -> datetime:
    """The machine's wall clock, in UTC."""
    return datetime.now(UTC)


def rfc3339(instant: datetime) -> str:
    """`instant` (aware) as RFC 3339 in UTC with a ``Z``; microseconds only where there are any.

    Years before 1000 keep their four digits, which `datetime.isoformat` guarantees and strftime does not.
    """
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
