"""How PostgreSQL runs the statements whose cost must not grow with what is stored."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
import pytest

from common.database.partitions import ensure_partitions
from common.database.queries import Queries
from common.envelope import event_key, signal_id

OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 21, tzinfo=UTC)
KEY = event_key(1, "november-7")
SIGNAL = signal_id(KEY, 0)


@pytest.fixture
def connection(connection: psycopg.Connection, api_store: Any) -> psycopg.Connection:
    """Two months with a few events each; indexes are used although tables are small."""
    ensure_partitions(connection, now=NOVEMBER, ahead=1)
    for number in range(9):
        api_store.event(1, f"october-{number}", received_at=OCTOBER, trace_id="t")
        api_store.event(1, f"november-{number}", received_at=NOVEMBER, trace_id="t")
    connection.execute("SET enable_seqscan = off")
    return connection


def scans(connection: psycopg.Connection, statement: LiteralString, parameters: Any) -> set[tuple[str, str]]:
    """How each relation was read that was looked into: its name, and the kind of scan."""

    def walk(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if node["Actual Loops"] and "Relation Name" in node:
            yield node["Relation Name"], node["Node Type"]
        for child in node.get("Plans", ()):
            yield from walk(child)

    row = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).fetchone()
    assert row is not None
    plans = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return set(walk(plans[0]["Plan"]))


def planned(connection: psycopg.Connection, name: str, parameters: Any) -> str:
    """The plan of one of the API's statements on signals."""
    statement = getattr(Queries("api.reading", "signals.sql"), name)
    return "\n".join(line for (line,) in connection.execute(f"EXPLAIN {statement}", parameters))


@pytest.mark.parametrize(
    ("package", "file", "name"),
    [
        ("api.reading", "events.sql", "find_event"),
        ("api.reading", "signals.sql", "find_signal"),
        ("worker.store", "batch.sql", "select_raw_events"),
        ("worker.index", "outbox.sql", "read_signals"),
        ("infrastructure.search", "stored.sql", "find_signals"),
    ],
)
def test_what_is_looked_up_by_id_is_sought_in_one_partition(
    connection: psycopg.Connection, package: str, file: str, name: str
) -> None:
    parameters = {
        "tenant_id": 1,
        "tenant_ids": [1],
        "event_key": KEY,
        "event_keys": [KEY],
        "signal_id": SIGNAL,
        "signal_ids": [SIGNAL],
        "received_from": datetime(2026, 1, 1, tzinfo=UTC),
        "received_until": datetime(2027, 1, 1, tzinfo=UTC),
    }

    found = scans(connection, getattr(Queries(package, file), name), parameters)

    partitions = {table for table, _ in found if table.startswith(("events_", "signals_"))}
    assert partitions
    assert partitions <= {"events_2026_11", "signals_2026_11"}
    assert not any(kind == "Seq Scan" for _, kind in found)


@pytest.mark.parametrize(
    "filters",
    [{}, {"event_types": ["purchase"]}, {"signal_types": ["revenue"]}, {"since": OCTOBER, "until": NOVEMBER}],
)
def test_lists_of_signals_read_an_index_in_its_order(
    connection: psycopg.Connection, filters: dict[str, Any]
) -> None:
    names = ("event_types", "signal_types", "min_score", "since", "until", "after_at", "after_id")
    parameters = {**dict.fromkeys(names), "tenant_id": 1, "limit": 5, **filters}

    plan = planned(connection, "list_signals", parameters)

    assert "Merge Append" in plan
    # All there is to sort are the pages of the kinds.
    assert plan.count("Sort  (") <= 1
    assert "(event_type = kinds.event_type) AND (signal_type = kinds.signal_type)" in plan


@pytest.mark.parametrize(
    ("name", "second_bound"),
    [
        ("list_signals", "(occurred_at <"),
        ("list_signals_of_customer", "(occurred_at <"),
        ("list_timeline", "(occurred_at >"),
    ],
)
def test_a_list_begins_at_one_bound_and_so_at_its_place_in_the_index(
    connection: psycopg.Connection, name: str, second_bound: str
) -> None:
    parameters = {
        **dict.fromkeys(("event_types", "signal_types", "min_score")),
        "tenant_id": 1,
        "customer_id": "c1",
        "limit": 5,
        "since": datetime(2026, 1, 1, tzinfo=UTC),
        "until": datetime(2027, 1, 1, tzinfo=UTC),
        "after_at": NOVEMBER,
        "after_id": SIGNAL,
    }

    plan = planned(connection, name, parameters)

    assert "(ROW(occurred_at, signal_id)" in plan
    assert second_bound not in plan
