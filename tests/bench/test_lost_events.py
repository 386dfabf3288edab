"""A row too few, a row too many, an event that never arrives: the suite notices."""

import json

import psycopg
import pytest
from suite.arrival import LateError, check_arrived, wait_until_searchable
from suite.bench import Place
from suite.events import Event, Workload, distinct_valid
from suite.scenarios.store_stage import check_stored

from common.envelope import event_key, signal_id


@pytest.fixture
def place(database_url: str) -> Place:
    return Place(database_url, "", "", 0, "")


@pytest.fixture
def stored(place: Place) -> list[Event]:
    """Events that are stored as a worker would store them, as far as they are looked at."""
    expected = distinct_valid(Workload("stored").events(300))
    with psycopg.connect(place.database_url) as connection:
        for event in expected:
            _store(connection, place.tenant_id, event)
    return expected


def _store(connection: psycopg.Connection, tenant_id: int, event: Event) -> None:
    key, told = event_key(tenant_id, event.event_id), json.loads(event.raw)
    row = (tenant_id, event.event_id, told["event_type"], told["customer_id"])
    connection.execute("INSERT INTO event_keys VALUES (%s, %s, now())", (key, tenant_id))
    connection.execute(
        "INSERT INTO events (event_key, received_at, batch_id, tenant_id, event_id, event_type, customer_id,"
        " occurred_at, raw) VALUES (%s, now(), 1, %s, %s, %s, %s, now(), '')",
        (key, *row),
    )
    has_signal = told["event_type"] != "customer_updated"
    if has_signal:
        connection.execute(
            "INSERT INTO signals (signal_id, received_at, tenant_id, event_id, event_type, customer_id, signal_type,"
            " signal_score, occurred_at, data) VALUES (%s, now(), %s, %s, %s, %s, 'intent', 0, now(), '{}')",
            (signal_id(key, 0), *row),
        )
        connection.execute(
            "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until)"
            " VALUES (nextval('batch_ids'), %s, %s, now(), now())",
            (tenant_id, [signal_id(key, 0)]),
        )
    connection.execute(
        "INSERT INTO customers (tenant_id, customer_id, first_seen, last_seen, signal_count)"
        " VALUES (%s, %s, now(), now(), %s) ON CONFLICT (tenant_id, customer_id)"
        " DO UPDATE SET signal_count = customers.signal_count + excluded.signal_count",
        (tenant_id, told["customer_id"], int(has_signal)),
    )


def test_nothing_is_wrong_where_every_event_is_in_its_place(place: Place, stored: list[Event]) -> None:
    assert check_stored(place, stored) == []


@pytest.mark.parametrize("table", ["event_keys", "events", "signals", "outbox"])
def test_a_missing_row_is_noticed(table: str, place: Place, stored: list[Event]) -> None:
    with psycopg.connect(place.database_url) as connection:
        connection.execute(
            f"DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})"  # type: ignore[arg-type]
        )
    assert check_stored(place, stored)


def test_a_signal_that_its_customer_does_not_count_is_noticed(place: Place, stored: list[Event]) -> None:
    with psycopg.connect(place.database_url) as connection:
        connection.execute(
            "UPDATE customers SET signal_count = signal_count - 1 WHERE customer_id ="
            " (SELECT min(customer_id) FROM customers WHERE signal_count > 0)"
        )
    assert check_stored(place, stored)


def test_an_event_too_many_is_noticed(place: Place, stored: list[Event]) -> None:
    with psycopg.connect(place.database_url) as connection:
        _store(connection, place.tenant_id, Workload("other").event(0))
    assert check_stored(place, stored)


def test_one_event_in_the_place_of_another_is_noticed(place: Place, stored: list[Event]) -> None:
    with psycopg.connect(place.database_url) as connection:
        connection.execute("UPDATE events SET event_id = 'other' WHERE event_id = %s", (stored[0].event_id,))
    assert check_stored(place, stored)


def test_what_never_arrives_is_noticed(database_url: str, elasticsearch_url: str) -> None:
    place = Place(database_url, "", elasticsearch_url, 0, "")
    events = Workload("arrival").events(20)
    with pytest.raises(LateError, match=r"\(0, 0, 0\) instead of"):
        wait_until_searchable(place, events, patience_seconds=0)
    assert check_arrived(place, events)
    assert check_arrived(place, []) == []
