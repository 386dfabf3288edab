"""What families of whole requests share: their table, where requests may go, and a key to send along."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from fuzzing.draft import Source
from fuzzing.families import Families
from fuzzing.wire import request_bytes

LISTS = (
    "/v1/events", "/v1/signals", "/v1/search", "/v1/customers", "/v1/customers/customer-1/timeline",
    "/v1/rejected", "/v1/event-types", "/v1/event-types/purchase", "/v1/event-types/purchase/violations",
)  # fmt: skip
THINGS = ("/v1/events/", "/v1/signals/", "/v1/customers/", "/v1/rejected/", "/v1/event-types/")
ODD_BYTES = (
    b"%00", b"%", b"%zz", b"%ff", b"%ed%a0%80", b"%c0%80", b"%f4%90%80%80", b"+", b"%20", b"%2F", b"%252e",
    b"\xff", b"%F0%9F%98%80", b"..", b"//", b"%0d%0aX:y", b"~", b"'", b"%22", b"*", b"%E2%80%AE",
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A request; `allowed` are the statuses that may come back, all documented ones if it is empty.

    `changes` marks a change of a customer: once it is answered with 202, its event must be stored.
    """

    request: bytes
    allowed: frozenset[int] = frozenset()
    changes: bool = False


REQUEST_FAMILIES: Families[Callable[[Source, str], Call]] = Families()
"""They are given the key to send."""
family = REQUEST_FAMILIES.family


def bearer(key: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {key}")


def get(key: str, target: bytes | str, *statuses: int) -> Call:
    return Call(request_bytes("GET", target, (bearer(key),)), frozenset(statuses))


def query(pairs: list[tuple[str, str]]) -> str:
    return "?" + "&".join(f"{quote(name)}={quote(text, safe='')}" for name, text in pairs)
