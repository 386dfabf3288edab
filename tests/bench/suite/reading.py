"""The statements of the API that read, as the API runs them, on databases filled by `history`."""

import asyncio
import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, cast
from uuid import UUID

import psycopg

from api.database import fetch_all
from common.database.connections import build_async_pool
from common.database.queries import Queries
from suite.bench import Place
from suite.history import MONTHS_BEFORE, SIGNALS_OF_A_CUSTOMER, customer_id
from suite.measuring import percentile

_PAGE = 51
_WARM_UPS = 10  # from the sixth on, the driver has a statement prepared, and PostgreSQL may keep its plan
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_BIG_BYTES = 1_000_000

_events, _signals, _customers = (Queries("api", f"{name}.sql") for name in ("events", "signals", "customers"))

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """One request's statement: `parameters` gives some of the many that users may ask with."""

    name: str
    statement: LiteralString
    parameters: Callable[["Asking"], Parameters]
    one_partition: bool = False


@dataclass(frozen=True, slots=True)
class Asking:
    """Somebody who asks for what is there, in a database with so many `signals` received until `now`."""

    tenant_id: int
    signals: int
    now: datetime
    dice: random.Random

    def event(self) -> Parameters:
        """An event by its identity, which is its signal's too."""
        digest = self.digest()
        key = UUID(digest[:30] + "00")
        return {"tenant_id": self.tenant_id, "event_key": key, "signal_id": key}

    def digest(self) -> str:
        """What `history` derives an event's random parts from."""
        return hashlib.md5(str(self.dice.randrange(self.signals)).encode(), usedforsecurity=False).hexdigest()

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
        return self.now - timedelta(days=self.dice.uniform(1, 30 * MONTHS_BEFORE))


def _week(asking: Asking) -> Parameters:
    since = asking.instant()
    return {"since": since, "until": since + timedelta(days=7)}


def _of_customer(asking: Asking) -> Parameters:
    return {"customer_id": asking.customer()}


def _later(asking: Asking) -> Parameters:
    return {"after_at": asking.instant(), "after_id": UUID(asking.digest())}


def _trace(asking: Asking) -> Parameters:
    return asking.list(trace_id=asking.digest(), after_key=None)


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


QUERIES = (
    Query("event by id", _events.find_event, Asking.event, one_partition=True),
    Query("signal by id", _signals.find_signal, Asking.event, one_partition=True),
    Query("events of a trace", _events.list_events_of_trace, _trace),
    Query("timeline", _signals.list_timeline, lambda a: a.list(customer_id=a.customer())),
    Query("timeline, a week", _signals.list_timeline, lambda a: a.list(customer_id=a.customer(), **_week(a))),
    *(
        Query(
            f"signals of a customer, {name}",
            _signals.list_signals_of_customer,
            _listed(filters, _of_customer),
        )
        for name, filters in _LISTS.items()
    ),
    *(Query(f"signals, {name}", _signals.list_signals, _listed(filters)) for name, filters in _LISTS.items()),
    *(
        Query(f"signals, {name}, a week", _signals.list_signals, _listed(filters, _week))
        for name, filters in _LISTS.items()
    ),
    *(
        Query(f"signals, {name}, a later page", _signals.list_signals, _listed(filters, _later))
        for name, filters in _LISTS.items()
    ),
    Query("customers by score", _customers.list_hottest, Asking.list),
    Query("customers by score, a later page", _customers.list_cooler, _score),
    Query("customer by id", _customers.find_customer, lambda a: a.list(customer_id=a.customer())),
)


def p95s(place: Place, signals: int, now: datetime, runs: int, number: int) -> dict[str, float]:
    """The 95th percentile of each query's milliseconds over `runs` runs.

    Each asks for something else, and for something else in each round `number`: caches help as they do in real life.
    """
    return asyncio.run(_p95s(place, Asking(place.tenant_id, signals, now, random.Random(number)), runs))


async def _p95s(place: Place, asking: Asking, runs: int) -> dict[str, float]:
    found = {}
    async with build_async_pool(place.database_url, application="sspp bench", max_size=1) as pool:
        for query in QUERIES:
            took = []
            for number in range(_WARM_UPS + runs):
                parameters = query.parameters(asking)
                started = time.perf_counter()
                await fetch_all(pool, query.statement, parameters)
                if number >= _WARM_UPS:
                    took.append((time.perf_counter() - started) * 1000)
            found[query.name] = percentile(took, 0.95)
    return found


def check_plans(place: Place, signals: int, now: datetime) -> list[str]:
    """What is wrong with the plans, those for single parameters and those for any: big tables that are read in whole,
    and partitions that are looked into although `received_at` is known."""
    asking = Asking(place.tenant_id, signals, now, random.Random(0))
    problems = []
    with psycopg.connect(
        place.database_url, autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as connection:
        connection.execute("SET jit = off")
        big = {
            row[0]
            for row in connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND pg_relation_size(oid) > %s",
                [_BIG_BYTES],
            )
        }
        for query in QUERIES:
            for mode in ("force_custom_plan", "force_generic_plan"):
                plan = _plan(connection, query, query.parameters(asking), mode)
                nodes = [node for node in _nodes(plan) if node["Actual Loops"] and "Relation Name" in node]
                problems += [
                    f"{query.name} ({mode}): Seq Scan on {node['Relation Name']}"
                    for node in nodes
                    if node["Node Type"] == "Seq Scan" and node["Relation Name"] in big
                ]
                partitions = {
                    n["Relation Name"] for n in nodes if re.match("(events|signals)_", n["Relation Name"])
                }
                if query.one_partition and len({name.split("_", 1)[1] for name in partitions}) != 1:
                    problems.append(f"{query.name} ({mode}): looked into {sorted(partitions)}")
    return problems


def _plan(
    connection: psycopg.Connection, query: Query, parameters: Parameters, mode: str
) -> Mapping[str, Any]:
    names = list(dict.fromkeys(_PLACEHOLDER.findall(query.statement)))
    numbered = _PLACEHOLDER.sub(lambda match: f"${names.index(match[1]) + 1}", query.statement)
    connection.execute(cast("LiteralString", f"SET plan_cache_mode = {mode}"))
    connection.execute(cast("LiteralString", f"PREPARE asked AS {numbered}"))
    places = ", ".join(["%s"] * len(names))
    row = connection.execute(
        cast("LiteralString", f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({places})"),
        [parameters[name] for name in names],
    ).fetchone()
    connection.execute("DEALLOCATE asked")
    assert row is not None
    return cast("Mapping[str, Any]", row[0][0]["Plan"])


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
