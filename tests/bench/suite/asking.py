"""The statements of the API that read: some of the many parameters that users may ask with, and what must be found."""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from api.database.fetching import Row
from common.database.queries import Queries
from suite.history import MONTHS_BEFORE, SIGNALS_OF_A_CUSTOMER, customer_id

_PAGE = 51
_ONE, _ANY, _SOME, _FULL = (1, 1), (0, _PAGE), (1, _PAGE), (_PAGE, _PAGE)
_IDENTITIES = {"event_id", "signal_id", "trace_id", "customer_id"}

_events, _signals, _customers = (
    Queries("api.reading", f"{name}.sql") for name in ("events", "signals", "customers")
)

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """One request's statement: `parameters` gives some of the many that users may ask with."""

    name: str
    statement: LiteralString
    parameters: Callable[["Asking"], Parameters]
    one_partition: bool = False
    rows: tuple[int, int] = _ANY

    def check(self, asked: Parameters, found: Sequence[Row]) -> str | None:
        """What is wrong with the rows `found`; None if nothing is.

        Their number must be within `rows`, and each must have what was `asked` for.
        """
        least, most = self.rows
        if not least <= len(found) <= most:
            return f"{self.name}: {len(found)} rows instead of {least} to {most}"
        wrong = sum(not _fits(asked, row) for row in found)
        return f"{self.name}: {wrong} of {len(found)} rows are not what was asked for" if wrong else None


def _fits(asked: Parameters, row: Row) -> bool:
    since, until = asked.get("since"), asked.get("until") or asked.get("after_at")
    return all(
        (
            all(row[name] == asked[name] for name in _IDENTITIES & row.keys() if asked.get(name) is not None),
            asked.get("event_types") is None or row["event_type"] in asked["event_types"],
            asked.get("signal_types") is None or row["signal_type"] in asked["signal_types"],
            since is None or row["occurred_at"] >= since,
            until is None or row["occurred_at"] <= until,
            asked.get("after_heat") is None or row["heat"] <= asked["after_heat"],
        )
    )


@dataclass(frozen=True, slots=True)
class Asking:
    """Somebody who asks for what is there, in a database with so many `signals` received until `now`."""

    tenant_id: int
    signals: int
    now: datetime
    dice: random.Random

    def event(self) -> Parameters:
        """An event by its identity, which is its signal's too."""
        number = self.dice.randrange(self.signals)
        key = UUID(_digest(number)[:30] + "00")
        return {"tenant_id": self.tenant_id, "event_key": key, "signal_id": key, "event_id": f"past-{number}"}

    def trace(self) -> Parameters:
        """The trace of an event, which has no other."""
        number = self.dice.randrange(self.signals)
        return self.list(trace_id=_digest(number), event_id=f"past-{number}", after_key=None)

    def position(self) -> Parameters:
        """Where a later page begins."""
        key = UUID(_digest(self.dice.randrange(self.signals)))
        return {"after_at": self.instant(), "after_id": key}

    def list(self, **filters: object) -> Parameters:
        """Parameters of a list's first page."""
        names = (
            "customer_id", "event_types", "signal_types", "min_score", "since", "until", "after_at", "after_id",
        )  # fmt: skip
        return {**dict.fromkeys(names), "tenant_id": self.tenant_id, "limit": _PAGE, **filters}

    def customer(self) -> str:
        """One of the customers."""
        return customer_id(self.dice.randrange(self.signals // SIGNALS_OF_A_CUSTOMER))

    def instant(self) -> datetime:
        """Some time within the months that have signals."""
        return self.now - timedelta(days=self.dice.uniform(1, 30 * MONTHS_BEFORE - 2))


def _digest(number: int) -> str:
    """What `history` derives the random parts of event `number` from."""
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def _week(asking: Asking) -> Parameters:
    since = asking.instant()
    return {"since": since, "until": since + timedelta(days=7)}


def _of_customer(asking: Asking) -> Parameters:
    return {"customer_id": asking.customer()}


def _score(asking: Asking) -> Parameters:
    return asking.list(after_heat=asking.dice.uniform(320, 330), after_id=asking.customer())


_LISTS: Mapping[str, Parameters] = {
    "newest": {},
    "by event_type": {"event_types": ["purchase"]},
    "by signal_type": {"signal_types": ["revenue"]},
    "by a rare signal_type": {"signal_types": ["churn_risk"]},
    "by both": {"event_types": ["purchase", "inquiry"], "signal_types": ["revenue"]},
}


def _listed(filters: Parameters, *limits: Callable[[Asking], Parameters]) -> Callable[[Asking], Parameters]:
    """What asks for signals with these filters, of some period or from some position on."""

    def parameters(asking: Asking) -> Parameters:
        asked = asking.list(**filters)
        for limit in limits:
            asked |= limit(asking)
        return asked

    return parameters


def _of_all_lists(
    title: str,
    statement: LiteralString,
    *limits: Callable[[Asking], Parameters],
    unfiltered: tuple[int, int],
    filtered: tuple[int, int] = _ANY,
) -> tuple[Query, ...]:
    """A query for each of `_LISTS`, whose name goes into `title`, and the rows to be found without and with filters."""
    return tuple(
        Query(
            title.format(name),
            statement,
            _listed(filters, *limits),
            rows=filtered if filters else unfiltered,
        )
        for name, filters in _LISTS.items()
    )


QUERIES = (
    Query("event by id", _events.find_event, Asking.event, one_partition=True, rows=_ONE),
    Query("signal by id", _signals.find_signal, Asking.event, one_partition=True, rows=_ONE),
    Query("events of a trace", _events.list_events_of_trace, Asking.trace, rows=_ONE),
    Query("timeline", _signals.list_timeline, lambda a: a.list(customer_id=a.customer()), rows=_SOME),
    Query("timeline, a week", _signals.list_timeline, lambda a: a.list(customer_id=a.customer(), **_week(a))),
    *_of_all_lists(
        "signals of a customer, {}", _signals.list_signals_of_customer, _of_customer, unfiltered=_SOME
    ),
    *_of_all_lists("signals, {}", _signals.list_signals, unfiltered=_FULL, filtered=_FULL),
    *_of_all_lists("signals, {}, a week", _signals.list_signals, _week, unfiltered=_FULL),
    *_of_all_lists("signals, {}, a later page", _signals.list_signals, Asking.position, unfiltered=_FULL),
    Query("customers by score", _customers.list_hottest, Asking.list, rows=_FULL),
    Query("customers by score, a later page", _customers.list_cooler, _score),
    Query("customer by id", _customers.find_customer, lambda a: a.list(customer_id=a.customer()), rows=_ONE),
)
