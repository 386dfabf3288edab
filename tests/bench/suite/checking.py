"""Whether everything is in its place, event by event and by ids: in PostgreSQL, in the search server, in the queue.

Each check returns what is wrong, one line each, and so nothing if all is well.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import psycopg

from common.database.queries import Queries
from common.queue.streams import busy_lane_of, decode_entry, lane_of
from common.redis import open_redis
from common.search.template import ALIAS
from suite.amounts import Customer, Customers, Sent, Wanted, add_all, signal_ids, wanted
from suite.bench import Place
from suite.events import Event

COPIED = ("events", "event_keys", "signals")
"""The tables that hold one row for each event."""
WITHOUT_OUTBOX = (*COPIED, "rejected_events", "customers")
"""Where there is no outbox, since whoever stores an event also indexes it."""
ALL_TABLES = (*WITHOUT_OUTBOX, "outbox")

_PAGE = 10_000
_sql = Queries("suite", "checking.sql")


@dataclass(frozen=True, slots=True)
class Before:
    """What was there before the events came: those received until `since`, and customers as they were.

    Without `all_customers` there were none; otherwise `customers` are those whose ids the events may have, and
    `all_customers` tells how many there are altogether and how many signals they count.
    """

    since: datetime | None = None
    customers: Customers = field(default_factory=dict)
    all_customers: tuple[int, int] | None = None


NOTHING = Before()


def check_stored(
    place: Place, sent: Sent, tables: Collection[str] = ALL_TABLES, *, before: Before = NOTHING
) -> list[str]:
    """What is wrong if `tables` should hold exactly what the events `sent` amount to, beside what was there before."""
    with psycopg.connect(place.database_url) as connection:
        connection.execute("SET LOCAL work_mem = '256MB'")
        # What was just stored is in no statistics: taking it for next to nothing, the planner would go through all of
        # one table for each row of another.
        connection.execute("SET LOCAL enable_nestloop = off")
        customers = _with(before.customers, _copied(connection, wanted(sent)))
        problems = [
            problem
            for table in tables
            if table != "customers" and (problem := _compare(connection, table, before.since))
        ]
        if "customers" in tables:
            problems += _compare_customers(connection, customers, before)
        connection.rollback()  # what was only written to compare with
    return problems


def look_at_customers(place: Place, ids: Collection[str]) -> Before:
    """How customers are now, those with these `ids` each by itself; `since` is left to who sends the next events."""
    with psycopg.connect(place.database_url) as connection:
        return Before(None, _customers(connection, ids), _all_customers(connection))


def check_documents(place: Place, ids: Sequence[str]) -> list[str]:
    """What is wrong if the search server should find exactly the documents `ids`."""
    with httpx.Client(base_url=place.elasticsearch_url, timeout=60) as client:
        return _difference("documents", Counter(_documents(client)), Counter(ids))


def check_arrived(place: Place, events: Sequence[Event], tables: Collection[str] = ALL_TABLES) -> list[str]:
    """What is wrong if `place` should hold, and find, exactly what `events` of its tenant amount to."""
    sent = {place.tenant_id: events}
    return check_stored(place, sent, tables) + check_documents(place, signal_ids(sent))


def check_queued(place: Place, events: Sequence[Event]) -> list[str]:
    """What is wrong if the queue of the tenant of `place` should hold exactly `events`, byte for byte."""
    streams = (lane_of(place.tenant_id), busy_lane_of(place.tenant_id))
    with open_redis(place.redis_url) as redis:
        found: Any = [(stream, *entry) for stream in streams for entry in redis.xrange(stream)]
    queued = Counter(
        (entry.tenant_id, record.event_id, bytes(record.raw))
        for entry in (decode_entry(*each) for each in found)
        for record in entry.records
    )
    return _difference(
        "queued events", queued, Counter((place.tenant_id, event.event_id, event.raw) for event in events)
    )


def _copied(connection: psycopg.Connection[Any], events: Iterator[Wanted]) -> Iterator[Wanted]:
    """Write `events` to a table of this session, and pass them on: so they are never all in memory."""
    connection.execute(_sql.create_wanted)
    with connection.cursor().copy("COPY wanted FROM STDIN") as copy:
        for event in events:
            copy.write_row(event)
            yield event


def _with(customers: Customers, events: Iterator[Wanted]) -> Customers:
    """`customers`, which stay as they are, and what `events` add to them."""
    added = {
        key: Customer(c.signal_count, Counter(c.counts), dict(c.totals), c.name, c.name_version)
        for key, c in customers.items()
    }
    add_all(added, events)
    return added


def _compare(connection: psycopg.Connection[Any], table: str, since: datetime | None) -> str | None:
    should, found = (getattr(_sql, f"{side}_{table}") for side in ("wanted", "found"))
    row = connection.execute(
        f"WITH should AS MATERIALIZED ({should}), found AS MATERIALIZED ({found})"
        " SELECT (SELECT count(*) FROM (TABLE should EXCEPT ALL TABLE found) AS missing),"
        " (SELECT count(*) FROM should), (SELECT count(*) FROM found)",
        {"since": since or "-infinity"},
    ).fetchone()
    assert row is not None
    missing, should_be, are = row
    too_many = are - (should_be - missing)
    return f"{table}: {missing} are missing, {too_many} are too many" if missing or too_many else None


def _compare_customers(
    connection: psycopg.Connection[Any], customers: Customers, before: Before
) -> list[str]:
    ids = None if before.all_customers is None else {customer_id for _, customer_id in customers}
    found = _customers(connection, ids)
    wrong = [
        key
        for key in customers.keys() | found.keys()
        if key not in customers or key not in found or customers[key] != found[key]
    ]
    problems = (
        [f"customers: {len(wrong)} are not as their events make them, {min(wrong)} for one"] if wrong else []
    )
    if before.all_customers is not None:
        there, signals = before.all_customers
        there += len(customers) - len(before.customers)
        signals += sum(c.signal_count for c in customers.values())
        signals -= sum(c.signal_count for c in before.customers.values())
        if (all_now := _all_customers(connection)) != (there, signals):
            problems.append(f"customers and their signals: {all_now} instead of {(there, signals)}")
    return problems


def _customers(connection: psycopg.Connection[Any], ids: Collection[str] | None) -> Customers:
    rows = connection.execute(_sql.list_customers, {"ids": None if ids is None else list(ids)})
    return {
        (tenant_id, customer_id): Customer(
            signals,
            Counter(json.loads(counts)),
            json.loads(totals, parse_float=Decimal, parse_int=Decimal),
            name,
            None if changed_at is None else (changed_at, changed_by),
        )
        for tenant_id, customer_id, signals, counts, totals, name, changed_at, changed_by in rows
    }


def _all_customers(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    row = connection.execute(_sql.sum_customers).fetchone()
    assert row is not None
    return row[0], row[1]


def _difference(what: str, found: Counter[Any], should: Counter[Any]) -> list[str]:
    missing, too_many = (should - found).total(), (found - should).total()
    return [f"{what}: {missing} are missing, {too_many} are too many"] if missing or too_many else []


def _documents(client: httpx.Client) -> Iterator[str]:
    query = {"size": _PAGE, "_source": False, "query": {"match_all": {}}}
    begun = client.post(f"/{ALIAS}/_search", params={"scroll": "2m"}, json=query)
    if begun.status_code == httpx.codes.NOT_FOUND:
        return  # the first document makes the index
    answer = begun.raise_for_status().json()
    while hits := answer["hits"]["hits"]:
        yield from (hit["_id"] for hit in hits)
        page = {"scroll": "2m", "scroll_id": answer["_scroll_id"]}
        answer = client.post("/_search/scroll", json=page).raise_for_status().json()
    client.request("DELETE", "/_search/scroll", json={"scroll_id": answer["_scroll_id"]})
