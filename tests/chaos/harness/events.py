"""What the clients send: each event follows from its sender's name and its number alone.

So nothing needs to be remembered but how far a sender has come, and the oracle works out by itself what must be
stored.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any

FORGOTTEN = "forgotten-"
"""How the names of senders begin that are customers themselves: all their events are their own."""

_CUSTOMERS = 300
_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
_CHANNELS = ("web", "store", "phone", "partner")


@dataclass(frozen=True, slots=True)
class Event:
    """One event, and what must become of it.

    `has_signal` and `revenue` (signed; None where the event tells of none) are what the platform makes of it;
    `is_valid` is False for one that a worker has to refuse.
    """

    event_id: str
    event_type: str
    customer_id: str
    data: dict[str, Any]
    envelope: dict[str, str]
    is_valid: bool = True
    has_signal: bool = True
    revenue: Decimal | None = None

    def body(self) -> bytes:
        """Its JSON text, always the same bytes."""
        fields = {
            "event_id": self.event_id,
            "event_type": self.event_type,
            "customer_id": self.customer_id,
            **self.envelope,
            "data": self.data,
        }
        return json.dumps(fields, separators=(",", ":")).encode()


def event(sender: str, number: int) -> Event:
    """The event with this number of this sender. Senders of a tenant share its customers, but for `FORGOTTEN` ones."""
    event_id = f"{sender}:{number}"
    dice = blake2b(event_id.encode(), digest_size=8).digest()
    shared = f"customer-{int.from_bytes(dice[:2]) % _CUSTOMERS}"
    customer_id = sender if sender.startswith(FORGOTTEN) else shared
    amount = Decimal(int.from_bytes(dice[2:5])) / 100
    currency = "EUR" if dice[5] % 4 == 0 else "USD"
    money: dict[str, Any] = {"amount": str(amount) if dice[5] % 2 else float(amount), "currency": currency}
    envelope = _envelope(event_id, dice)
    kind = dice[7] % 100
    if kind < 4:  # negative: a refusal by the type's schema
        bad = {**money, "amount": f"-{amount + 1}"}
        return Event(event_id, "purchase", customer_id, bad, envelope, is_valid=False, has_signal=False)
    if kind < 60:
        data = {**money, "quantity": dice[0] % 9 + 1, "channel": _CHANNELS[dice[1] % len(_CHANNELS)]}
        return Event(event_id, "purchase", customer_id, data, envelope, revenue=amount)
    if kind < 70:
        return Event(event_id, "refund", customer_id, money, envelope, revenue=-amount)
    if kind < 90:
        data = {"message": f"What would {dice.hex()} cost?", "channel": _CHANNELS[dice[1] % len(_CHANNELS)]}
        return Event(event_id, "inquiry", customer_id, data, envelope)
    data = {"name": f"Customer {dice[:2].hex()}", "custom_fields": {"seen": dice.hex()}}
    return Event(event_id, "customer_updated", customer_id, data, envelope, has_signal=False)


def events(sender: str, count: int) -> Iterator[Event]:
    """The first `count` events of this sender."""
    return (event(sender, number) for number in range(count))


def _envelope(event_id: str, dice: bytes) -> dict[str, str]:
    envelope = {}
    if dice[6] % 2:
        occurred_at = _EARLIEST + timedelta(seconds=int.from_bytes(dice[:3]))
        envelope["occurred_at"] = occurred_at.isoformat()
    if dice[6] % 3 == 0:
        envelope["trace_id"] = f"trace-{event_id}"
    return envelope
