"""The workload: events as a shop and its sales team cause them, each following from its number alone.

They are 300 to 600 bytes of JSON, of seven types, for 5,000 customers. 3 % repeat an earlier event, byte for byte: half
of these one of the last 4,000, as from a client that tries again at once, the others any earlier one, which mostly has
been stored for long. 1 % are purchases of a negative amount, which the workers refuse.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

CUSTOMERS = 5_000
DUPLICATES_PERCENT = 3
REFUSED_PERCENT = 1

_NEAR = 4_000
_EARLIEST = datetime(2026, 10, 1, tzinfo=UTC)
_CHANNELS = ("web", "store", "phone", "partner")
_PAGES = (
    "pricing",
    "product/air-compressor",
    "docs/getting-started",
    "blog/ten-ways-to-lose-a-lead",
    "contact",
)
# fmt: off
_WORDS = (
    "offer", "delivery", "pricing", "contract", "discount", "compressor", "invoice", "renewal", "support", "training",
    "upgrade", "warranty", "sample", "quantity", "budget", "approval", "meeting", "deadline", "shipment",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the workload; `is_valid` is False if the workers have to refuse it."""

    event_id: str
    is_valid: bool
    raw: bytes


class Workload:
    """A sequence of events, each of them the same whenever it is made.

    Args:
        name: a prefix of the event ids: workloads of different names have no event in common.
        duplicates: whether 3 % of the events repeat earlier ones.
        refused: whether 1 % of the events are invalid.
    """

    def __init__(self, name: str, *, duplicates: bool = True, refused: bool = True) -> None:
        self._name = name
        self._duplicates = DUPLICATES_PERCENT if duplicates else 0
        self._refused = REFUSED_PERCENT if refused else 0

    def event(self, number: int) -> Event:
        """The event with this number, or the earlier one that it repeats."""
        if self._is_repeat(number):
            dice = self._dice(number)
            farthest = number if dice[6] % 2 else min(number, _NEAR)
            number -= 1 + int.from_bytes(dice[2:6]) % farthest
            while self._is_repeat(number):
                number -= 1
        dice = self._dice(number)
        return self._original(number, dice)

    def events(self, count: int, *, first: int = 0) -> list[Event]:
        """`count` events in a row."""
        return [self.event(number) for number in range(first, first + count)]

    def _dice(self, number: int) -> bytes:
        return blake2b(f"{self._name}-{number}".encode(), digest_size=16).digest()

    def _is_repeat(self, number: int) -> bool:
        dice = self._dice(number)
        return number > 0 and dice[0] * 256 + dice[1] < self._duplicates * 65_536 // 100

    def _original(self, number: int, dice: bytes) -> Event:
        is_valid = dice[4] * 256 + dice[5] >= self._refused * 65_536 // 100
        event_type, data = ("purchase", {"amount": -1, "currency": "EUR"}) if not is_valid else _content(dice)
        event_id = f"{self._name}-{number:09d}-{dice[8:12].hex()}"
        envelope = {
            "event_id": event_id,
            "event_type": event_type,
            "customer_id": f"customer-{int.from_bytes(dice[6:8]) % CUSTOMERS:05d}",
            "occurred_at": (_EARLIEST + timedelta(seconds=number % 4_000_000)).isoformat(),
            "trace_id": dice.hex(),
            "data": data | {"source": _source(number, dice), "note": _note(dice)},
        }
        return Event(event_id, is_valid, json.dumps(envelope, separators=(",", ":")).encode())


def distinct_valid(events: Sequence[Event]) -> list[Event]:
    """Those of `events` that must be stored: the valid ones, each once, in the order of their first coming."""
    return list({event.event_id: event for event in events if event.is_valid}.values())


def _content(dice: bytes) -> tuple[str, dict[str, Any]]:
    """Event type and data, as a customer's journey has them: many looks, fewer talks, some purchases."""
    kind = dice[12] * 100 // 256
    money = {"amount": f"{int.from_bytes(dice[13:16]) / 100:.2f}", "currency": ("EUR", "USD")[dice[9] % 2]}
    quantity = {"quantity": dice[11] % 9 + 1}
    channel = {"channel": _CHANNELS[dice[9] % len(_CHANNELS)]}
    page = f"https://shop.example/{_PAGES[dice[10] % len(_PAGES)]}"
    journey: tuple[tuple[int, str, dict[str, Any]], ...] = (
        (35, "page_viewed", {"url": page, "duration_seconds": dice[11]}),
        (50, "email_opened", {"message_id": f"<{dice[8:14].hex()}@mail.example>", "subject": "Your offer"}),
        (60, "cart_abandoned", {**money, **quantity}),
        (
            70,
            "call_made",
            {"duration_seconds": dice[10] * 3, "outcome": "connected", "agent": f"agent-{dice[9]}"},
        ),
        (80, "inquiry", {"message": f"What would {dice[11] + 1} pieces cost?", **channel}),
        (98, "purchase", {**money, **quantity, **channel}),
        (
            100,
            "customer_updated",
            {"name": f"Customer {dice[6:8].hex()}", "tags": ["bench", *channel.values()]},
        ),
    )
    return next((event_type, data) for up_to, event_type, data in journey if kind < up_to)


def _source(number: int, dice: bytes) -> dict[str, Any]:
    return {"system": "shop", "version": "4.2", "region": _CHANNELS[dice[10] % 4], "sequence": number}


def _note(dice: bytes) -> str:
    return " ".join(_WORDS[byte % len(_WORDS)] for byte in dice[: 3 + dice[3] % 14])
