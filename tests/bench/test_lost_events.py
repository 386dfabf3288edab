"""A row too few, a row too many, a wrong sum, an event that never arrives: the suite notices."""

import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest
from suite import usage
from suite.arrival import LateError, wait_until_searchable
from suite.asking import QUERIES, Asking
from suite.bench import Place
from suite.checking import (
    ALL_TABLES,
    COPIED,
    check_arrived,
    check_documents,
    check_queued,
    check_stored,
    look_at_customers,
)
from suite.events import Event, Workload
from suite.queueing import queue_events

from common.queue.streams import lane_of
from common.redis import open_redis
from common.services import open_services
from common.settings import load_settings
from worker.stages import Stages

TENANT_ID = 1
NOW = datetime.now(UTC)


@pytest.fixture
def place(environment: dict[str, str]) -> Place:
    urls = (environment[name] for name in ("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL"))
    return Place(*urls, TENANT_ID, "")


@pytest.fixture
def sent(place: Place) -> dict[int, list[Event]]:
    """Some events, duplicates and refused ones among them, that the platform's own stage has stored."""
    events = Workload("stored").events(300)
    _store(place, events, NOW)
    return {TENANT_ID: events}


def _store(place: Place, events: list[Event], received_at: datetime) -> None:
    with open_services(load_settings(), application="test") as services:
        queue_events(services.redis, TENANT_ID, events, received_at)
        stage = Stages(services).build("ingest", "test")
        while stage.step(0):
            pass
        stage.close()


def _damage(place: Place, statement: str) -> None:
    with psycopg.connect(place.database_url) as connection:
        assert connection.execute(statement).rowcount == 1  # type: ignore[arg-type]


def test_nothing_is_wrong_where_the_platform_stored_all(place: Place, sent: dict[int, list[Event]]) -> None:
    assert len({event.event_id for event in sent[TENANT_ID]}) < 300
    assert not all(event.is_valid for event in sent[TENANT_ID])
    assert check_stored(place, sent) == []


@pytest.mark.parametrize("table", ALL_TABLES)
def test_a_missing_row_is_noticed(table: str, place: Place, sent: dict[int, list[Event]]) -> None:
    _damage(place, f"DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})")
    assert any(problem.startswith(f"{table}: ") for problem in check_stored(place, sent))


@pytest.mark.parametrize("table", COPIED)
def test_a_missing_row_is_noticed_where_only_copied_tables_are_looked_at(
    table: str, place: Place, sent: dict[int, list[Event]]
) -> None:
    _damage(place, f"DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})")
    assert check_stored(place, sent, COPIED)


@pytest.mark.parametrize(
    ("table", "changed"),
    [
        ("events", {"received_at": "received_at + interval '1 second'"}),
        ("signals", {"received_at": "received_at + interval '1 second'"}),
        ("event_keys", {"event_key": "gen_random_uuid()"}),
        ("outbox", {"batch_id": "batch_id + 1000"}),
        ("rejected_events", {"rejection_id": "gen_random_uuid()"}),
        ("customers", {"customer_id": "'nobody'"}),
    ],
)
def test_a_double_is_noticed(
    table: str, changed: dict[str, str], place: Place, sent: dict[int, list[Event]]
) -> None:
    with psycopg.connect(place.database_url) as connection:
        names = [
            row[0]
            for row in connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", [table]
            )
        ]
    values = ", ".join(changed.get(name, name) for name in names)
    _damage(place, f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table} LIMIT 1")
    assert any(problem.startswith(f"{table}: ") for problem in check_stored(place, sent))


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("events", "event_id = 'other'"),
        ("events", "customer_id = 'other'"),
        ("events", "raw = raw || ' '"),
        ("events", "received_at = received_at + interval '1 millisecond'"),
        ("event_keys", "received_at = received_at + interval '1 millisecond'"),
        ("event_keys", "tenant_id = 7"),
        ("signals", "event_id = 'other'"),
        ("signals", "amount = coalesce(amount, 0) + 0.01"),
        ("signals", "received_at = received_at + interval '1 millisecond'"),
        ("outbox", "signal_ids = signal_ids[2:]"),
        ("outbox", "signal_ids = signal_ids || signal_ids[1]"),
        ("rejected_events", "raw = '{}'"),
        ("customers", "signal_count = signal_count + 1"),
        ("customers", """counts = counts || '{"purchase": 99}'"""),
        ("customers", """totals = totals || '{"EUR": 0.01}'"""),
        ("customers", "name = 'Nobody'"),
    ],
)
def test_a_wrong_value_is_noticed(
    table: str, change: str, place: Place, sent: dict[int, list[Event]]
) -> None:
    _damage(place, f"UPDATE {table} SET {change} WHERE ctid = (SELECT min(ctid) FROM {table})")
    assert check_stored(place, sent)


def test_refusals_that_a_worker_drops_are_noticed(place: Place, sent: dict[int, list[Event]]) -> None:
    with psycopg.connect(place.database_url) as connection:
        connection.execute("DELETE FROM rejected_events")
    assert check_stored(place, sent)


@pytest.fixture
def later(place: Place, sent: dict[int, list[Event]]) -> dict[int, list[Event]]:
    """Events that come to a database that has others."""
    return {TENANT_ID: Workload("later").events(300)}


def test_what_is_added_to_a_filled_database_is_told_from_what_was_there(
    place: Place, later: dict[int, list[Event]]
) -> None:
    customers = [f"customer-{number:05d}" for number in range(5_000)]
    since = datetime.now(UTC)
    before = replace(look_at_customers(place, customers), since=since)
    _store(place, later[TENANT_ID], since)
    assert check_stored(place, later, before=before) == []

    _damage(
        place,
        """UPDATE customers SET totals = totals || '{"EUR": 0.01}' WHERE ctid = (SELECT min(ctid) FROM customers)""",
    )
    assert check_stored(place, later, before=before)


def test_a_customer_who_was_not_touched_is_noticed_if_changed(
    place: Place, later: dict[int, list[Event]]
) -> None:
    _damage(
        place,
        "INSERT INTO customers (tenant_id, customer_id, first_seen, last_seen) VALUES (1, 'quiet', now(), now())",
    )
    since = datetime.now(UTC)
    before = replace(look_at_customers(place, ["customer-00000"]), since=since)
    _damage(place, "UPDATE customers SET signal_count = 1 WHERE customer_id = 'quiet'")
    assert check_stored(place, {}, ["customers"], before=before)


def test_what_never_arrives_is_noticed(place: Place) -> None:
    events = Workload("arrival").events(20)
    with pytest.raises(LateError, match=r"\(0, 0\) instead of"):
        wait_until_searchable(place, events, patience_seconds=0)
    assert check_arrived(place, events)
    assert check_arrived(place, []) == []


def test_documents_too_few_or_too_many_are_noticed(place: Place) -> None:
    with httpx.Client(base_url=place.elasticsearch_url) as client:
        for name in ("one", "two"):
            document = {"signal_id": name}
            client.put(f"/signals-2026.11/_doc/{name}?refresh=true", json=document).raise_for_status()
        client.put("/signals-2026.11/_alias/signals").raise_for_status()
    assert check_documents(place, ["one", "two"]) == []
    assert check_documents(place, ["one"]) == ["documents: 0 are missing, 1 are too many"]
    assert check_documents(place, ["one", "two", "three"]) == ["documents: 1 are missing, 0 are too many"]
    assert check_documents(place, ["one", "other"]) == ["documents: 1 are missing, 1 are too many"]


def test_what_the_queue_lost_doubled_or_changed_is_noticed(place: Place) -> None:
    events = Workload("queued").events(10)
    with open_redis(place.redis_url) as redis:
        queue_events(redis, TENANT_ID, events, NOW, entry_events=5)
        assert check_queued(place, events) == []
        changed = [replace(events[0], raw=b"{}"), *events[1:]]
        assert check_queued(place, changed) == ["queued events: 1 are missing, 1 are too many"]
        ((first, _), *_) = redis.xrange(lane_of(TENANT_ID))
        redis.xdel(lane_of(TENANT_ID), first)
        assert check_queued(place, events) == ["queued events: 5 are missing, 0 are too many"]
        queue_events(redis, TENANT_ID, events, NOW)
        assert check_queued(place, events) == ["queued events: 0 are missing, 5 are too many"]


def test_a_query_that_finds_the_wrong_rows_or_too_few_is_noticed() -> None:
    asking = Asking(TENANT_ID, 10_000, NOW, random.Random(0))
    queries = {query.name: query for query in QUERIES}

    by_id, asked = queries["event by id"], asking.event()
    right = {"event_id": asked["event_id"]}
    assert by_id.check(asked, [right]) is None
    assert by_id.check(asked, [])
    assert by_id.check(asked, [right, right])
    assert by_id.check(asked, [{"event_id": "other"}])

    purchases, asked = queries["signals, by event_type"], asking.list(event_types=["purchase"])
    row = {"event_type": "purchase", "signal_type": "revenue", "occurred_at": NOW}
    assert purchases.check(asked, [row] * 51) is None
    assert purchases.check(asked, [row] * 50)
    assert purchases.check(asked, [row] * 50 + [row | {"event_type": "refund"}])


def test_figures_of_processes_are_left_out_where_the_system_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(usage, "_PROC", tmp_path)
    assert usage.peak_mebibytes(1) is None
    assert usage.cpu_seconds(1) is None
    assert 1 < usage.own_peak_mebibytes() < 100_000
