"""The oracle of conservation: what the clients know must be what the stores hold, to the last event and cent."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import psycopg
from redis import Redis

from common.envelope import event_key
from common.queue.streams import DEPTH_KEY, QUARANTINE_KEY, STREAMS
from harness.events import Event

_EXAMPLES = 10

Identity = tuple[int, str]
"""A tenant's id and an event's."""
Customer = tuple[int, str]
"""A tenant's id and a customer's."""

_EVENTS: LiteralString = "SELECT tenant_id, event_id FROM events"
_KEYS: LiteralString = "SELECT event_key FROM event_keys"
_SIGNALS: LiteralString = "SELECT tenant_id, event_id, event_type, customer_id, amount, currency FROM signals"
_REJECTED: LiteralString = "SELECT tenant_id, event_id FROM rejected_events"
_CUSTOMERS: LiteralString = (
    "SELECT tenant_id, customer_id, signal_count, counts::text, totals::text FROM customers"
)
_LEFT_OVER: Mapping[str, LiteralString] = {
    "outbox rows not indexed": "SELECT count(*) FROM outbox WHERE indexed_at IS NULL",
    "documents that search refused": "SELECT count(*) FROM index_failures",
    "customers to be erased": "SELECT count(*) FROM erasures WHERE state <> 'done'",
    "months with another usage than the events stored": """
        SELECT count(*)
        FROM (
            SELECT tenant_id, date_trunc('month', received_at AT TIME ZONE 'UTC')::date AS month, count(*) AS stored
            FROM events GROUP BY 1, 2
        ) AS logged
        FULL JOIN (
            SELECT tenant_id, month, sum(events) AS used
            FROM (
                SELECT tenant_id, month, events FROM usage UNION ALL SELECT tenant_id, month, events FROM usage_parts
                UNION ALL
                SELECT tenant_id, date_trunc('month', erased_at AT TIME ZONE 'UTC')::date,
                       -(counts ->> 'events')::bigint
                FROM erasures
            ) AS counted
            GROUP BY 1, 2
        ) AS counts USING (tenant_id, month)
        WHERE stored IS DISTINCT FROM used
    """,
}


@dataclass(slots=True)
class Difference:
    """Things that are not as they must be: how many, and some of them."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, things: Iterable[object]) -> "Difference":
        """Count `things`."""
        difference = cls()
        for thing in things:
            difference.count += 1
            if len(difference.examples) < _EXAMPLES:
                difference.examples.append(str(thing))
        return difference

    def __bool__(self) -> bool:
        return self.count > 0


@dataclass(slots=True)
class Conservation:
    """What the oracle found; everything empty if the promise was kept."""

    lost: Difference
    """Acknowledged, and missing where it must be: `events`, `event_keys`, `signals`, or `rejected_events`."""
    doubled: Difference
    """More than once in one of these."""
    unknown: Difference
    """In one of these, although nobody sent it or it should have become something else."""
    wrong_signals: Difference
    """With another type, customer, amount or currency."""
    wrong_customers: Difference
    """Counts or totals differ from the sum of the signals, or from what was sent."""
    left_over: dict[str, int]
    """What must be empty by now, by what it is."""

    def problems(self) -> list[str]:
        """What was not kept of the promise, in words."""
        found = {
            "lost": self.lost,
            "doubled": self.doubled,
            "not as sent": self.unknown,
            "wrong signals": self.wrong_signals,
            "wrong customers": self.wrong_customers,
        }
        told = [
            f"{difference.count} {what}: {difference.examples}"
            for what, difference in found.items()
            if difference
        ]
        return told + [f"{count} {what}" for what, count in self.left_over.items()]


class _Signal(NamedTuple):
    event_type: str
    customer_id: str
    amount: Decimal | None
    currency: str | None

    @property
    def revenue(self) -> Decimal:
        signs = {"purchase": 1, "refund": -1}
        return (self.amount or Decimal(0)) * signs.get(self.event_type, 0)


@dataclass
class _Sums:
    """What a customer adds up to."""

    signal_count: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    totals: dict[str, Decimal] = field(default_factory=dict)

    def add(self, signal: _Signal) -> None:
        self.signal_count += 1
        self.counts[signal.event_type] = self.counts.get(signal.event_type, 0) + 1
        if signal.currency and signal.revenue:
            self.totals[signal.currency] = self.totals.get(signal.currency, Decimal(0)) + signal.revenue


@dataclass
class Expectation:
    """What the stores must hold, by what was acknowledged."""

    stored: set[Identity] = field(default_factory=set)
    erased: set[Identity] = field(default_factory=set)
    """Valid, and gone since: of them nothing is left but that their identity is taken."""
    rejected: set[Identity] = field(default_factory=set)
    signals: dict[Identity, _Signal] = field(default_factory=dict)
    customers: dict[Customer, _Sums] = field(default_factory=dict)

    def add(self, tenant_id: int, event: Event) -> None:
        """One more event that was acknowledged."""
        identity = (tenant_id, event.event_id)
        if not event.is_valid:
            self.rejected.add(identity)
            return
        self.stored.add(identity)
        sums = self.customers.setdefault((tenant_id, event.customer_id), _Sums())
        if event.has_signal:
            amount = None if event.revenue is None else abs(event.revenue)
            currency = None if amount is None else event.data["currency"]
            self.signals[identity] = _Signal(event.event_type, event.customer_id, amount, currency)
            sums.add(self.signals[identity])

    def add_erased(self, tenant_id: int, event: Event) -> None:
        """One more event that was acknowledged before its customer was erased."""
        if event.is_valid:
            self.erased.add((tenant_id, event.event_id))


def examine(connection: psycopg.Connection[Any], redis: Redis, expected: Expectation) -> Conservation:
    """Compare what the stores hold with what is `expected`, once everything is at rest."""
    signals = [((row[0], row[1]), _Signal(*row[2:])) for row in connection.execute(_SIGNALS)]
    # What nobody is expected to have taken shows as the key itself.
    identities: dict[UUID, Identity] = {event_key(*each): each for each in expected.stored | expected.erased}
    found: dict[str, Counter[Identity]] = {
        "events": Counter(connection.execute(_EVENTS).fetchall()),
        "event_keys": Counter(
            identities.get(key, (0, str(key))) for (key,) in connection.execute(_KEYS).fetchall()
        ),
        "rejected_events": Counter(connection.execute(_REJECTED).fetchall()),
        "signals": Counter(identity for identity, _ in signals),
    }
    wanted: dict[str, KeysView[Identity] | set[Identity]] = {
        "events": expected.stored,
        "event_keys": expected.stored | expected.erased,
        "rejected_events": expected.rejected,
        "signals": expected.signals.keys(),
    }
    return Conservation(
        lost=Difference.of(
            f"{identity} is not in {table}"
            for table in wanted
            for identity in sorted(wanted[table] - found[table].keys())
        ),
        doubled=Difference.of(
            f"{identity} is {count} times in {table}"
            for table in wanted
            for identity, count in found[table].items()
            if count > 1
        ),
        unknown=Difference.of(
            f"{identity} is in {table}"
            for table in wanted
            for identity in sorted(found[table].keys() - wanted[table])
        ),
        wrong_signals=Difference.of(
            f"{identity}: {signal} instead of {expected.signals[identity]}"
            for identity, signal in signals
            if identity in expected.signals and signal != expected.signals[identity]
        ),
        wrong_customers=Difference.of(_wrong_customers(connection, signals, expected)),
        left_over=_left_over(connection, redis),
    )


def _wrong_customers(
    connection: psycopg.Connection[Any], signals: Sequence[tuple[Identity, _Signal]], expected: Expectation
) -> Iterator[str]:
    summed: dict[Customer, _Sums] = {}
    for (tenant_id, _), signal in signals:
        summed.setdefault((tenant_id, signal.customer_id), _Sums()).add(signal)
    shown = {
        (row[0], row[1]): _Sums(row[2], _numbers(row[3]), _numbers(row[4]))
        for row in connection.execute(_CUSTOMERS)
    }
    for customer in sorted(shown.keys() | summed.keys() | expected.customers.keys()):
        stored = shown.get(customer)
        if stored is None:
            yield f"{customer} is missing"
            continue
        by_signals = summed.get(customer, _Sums())
        if not _equal(stored, by_signals):
            yield f"{customer}: {stored} instead of the sum of its signals, {by_signals}"
        by_clients = expected.customers.get(customer)
        if by_clients is None or not _equal(stored, by_clients):
            yield f"{customer}: {stored} instead of what was sent, {by_clients}"


def _equal(one: _Sums, other: _Sums) -> bool:
    # A total that came down to nothing may be shown as 0.
    nothing = {currency: Decimal(0) for currency in one.totals.keys() | other.totals.keys()}
    return (one.signal_count, one.counts, nothing | one.totals) == (
        other.signal_count,
        other.counts,
        nothing | other.totals,
    )


def _numbers(text: str) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return numbers


def _left_over(connection: psycopg.Connection[Any], redis: Redis) -> dict[str, int]:
    found = {what: connection.execute(query).fetchall()[0][0] for what, query in _LEFT_OVER.items()}
    for lane in STREAMS:
        found[f"entries in {lane}"] = redis.xlen(lane)
        if redis.exists(lane):
            groups = redis.xinfo_groups(lane)
            found[f"entries taken in {lane}"] = sum(group["pending"] for group in groups)
    found |= {f"events counted in {lane.decode()}": int(n) for lane, n in redis.hgetall(DEPTH_KEY).items()}
    found["entries in quarantine"] = redis.xlen(QUARANTINE_KEY)
    return {what: count for what, count in found.items() if count}
