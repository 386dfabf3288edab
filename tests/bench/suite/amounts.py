"""What events amount to once they all came in, computed from nothing but their JSON: no code of the platform's domains.

Each event of the workload has one signal, but for changes of a profile, which have none.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import md5
from typing import NamedTuple
from uuid import UUID

from common.envelope import event_key, signal_id
from suite.events import Event

Sent = Mapping[int, Sequence[Event]]
"""The events that were sent, by tenant: repeats and invalid ones too."""


class Wanted(NamedTuple):
    """What there must be of one event: a refusal of it unless `is_valid`; a signal of it if that has an id."""

    tenant_id: int
    event_key: UUID
    event_id: str
    event_type: str
    customer_id: str
    occurred_at: datetime
    trace_id: str
    raw_hash: UUID
    is_valid: bool
    signal_id: UUID | None
    amount: Decimal | None
    currency: str | None
    name: str | None


@dataclass(slots=True)
class Customer:
    """What there must be of one customer; `name_version` orders the changes of a name."""

    signal_count: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    totals: dict[str, Decimal] = field(default_factory=dict)
    name: str | None = None
    name_version: tuple[datetime, str] | None = None

    def add(self, event: Wanted) -> None:
        """Count an event in."""
        if event.name is not None:
            version = (event.occurred_at, str(event.event_key))
            if self.name_version is None or version > self.name_version:
                self.name, self.name_version = event.name, version
        if event.signal_id is not None:
            self.signal_count += 1
            self.counts[event.event_type] += 1
        if event.event_type == "purchase" and event.amount and event.currency:
            self.totals[event.currency] = self.totals.get(event.currency, Decimal(0)) + event.amount


Customers = dict[tuple[int, str], Customer]
"""By tenant and customer id."""


def wanted(sent: Sent) -> Iterator[Wanted]:
    """Each distinct event, once."""
    for tenant_id, events in sent.items():
        for event in {event.event_id: event for event in events}.values():
            yield _wanted(tenant_id, event)


def signal_ids(sent: Sent) -> list[str]:
    """Those of all signals."""
    return [str(each.signal_id) for each in wanted(sent) if each.is_valid and each.signal_id]


def add_all(customers: Customers, events: Iterable[Wanted]) -> None:
    """Count the valid ones of `events` in."""
    for event in events:
        if event.is_valid:
            customers.setdefault((event.tenant_id, event.customer_id), Customer()).add(event)


def _wanted(tenant_id: int, event: Event) -> Wanted:
    told = json.loads(event.raw)
    data, key = told["data"], event_key(tenant_id, event.event_id)
    changes_profile = told["event_type"] == "customer_updated"
    return Wanted(
        tenant_id,
        key,
        event.event_id,
        told["event_type"],
        told["customer_id"],
        datetime.fromisoformat(told["occurred_at"]),
        told["trace_id"],
        UUID(md5(event.raw, usedforsecurity=False).hexdigest()),
        event.is_valid,
        None if changes_profile else signal_id(key, 0),
        Decimal(data["amount"]) if "amount" in data else None,
        data.get("currency"),
        data["name"] if changes_profile else None,
    )
