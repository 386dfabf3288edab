"""The oracle sees what it is there for: each way of breaking the promise, by one row."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from harness.events import FORGOTTEN, Event, event
from harness.oracle import Expectation, examine

from common.envelope import event_key, signal_id
from common.queue.streams import LANES, Record, encode_entry
from common.redis import open_redis

TENANT = 7
GONE = f"{FORGOTTEN}1"
NOW = "2026-11-21T12:00:00Z"
SENT_AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
SENT = [event("sender", number) for number in range(40)]
SOLD = next(each for each in SENT if each.event_type == "purchase" and each.is_valid)
REFUSED = next(each for each in SENT if not each.is_valid)
UPDATED = next(each for each in SENT if each.event_type == "customer_updated")


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A database that holds what was sent, as the platform would have stored it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for each in SENT:
            (put if each.is_valid else put_rejected)(connection, each)
        stored = sum(each.is_valid for each in SENT)
        connection.execute("INSERT INTO usage VALUES (%s, '2026-11-01', %s)", (TENANT, stored))
        yield connection


def put(connection: psycopg.Connection[Any], each: Event, *, claims: bool = True) -> None:
    key = event_key(TENANT, each.event_id)
    row = (TENANT, each.event_id, each.event_type, each.customer_id)
    if claims:
        connection.execute("INSERT INTO event_keys VALUES (%s, %s, %s)", (key, TENANT, NOW))
    connection.execute(
        "INSERT INTO events (event_key, received_at, batch_id, occurred_at, raw, tenant_id, event_id, event_type,"
        " customer_id) VALUES (%s, %s, 1, %s, %s, %s, %s, %s, %s)",
        (key, NOW, NOW, each.body().decode(), *row),
    )
    revenue = each.revenue or Decimal(0)
    money = (abs(each.revenue), each.data["currency"]) if each.revenue is not None else (None, None)
    if each.has_signal:
        connection.execute(
            "INSERT INTO signals (signal_id, received_at, occurred_at, signal_type, signal_score, data, tenant_id,"
            " event_id, event_type, customer_id, amount, currency)"
            " VALUES (%s, %s, %s, 'intent', 0.5, '{}', %s, %s, %s, %s, %s, %s)",
            (signal_id(key, 0), NOW, NOW, *row, *money),
        )
    counts, totals = f'{{"{each.event_type}": 1}}', f'{{"{money[1]}": {revenue}}}'
    connection.execute(
        "INSERT INTO customers AS c (tenant_id, customer_id, first_seen, last_seen, signal_count, counts, totals)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, customer_id) DO UPDATE SET"
        " signal_count = c.signal_count + excluded.signal_count, counts = jsonb_sum(c.counts, excluded.counts),"
        " totals = jsonb_sum(c.totals, excluded.totals)",
        (
            TENANT,
            each.customer_id,
            NOW,
            NOW,
            int(each.has_signal),
            counts if each.has_signal else "{}",
            totals if revenue else "{}",
        ),
    )


def put_rejected(connection: psycopg.Connection[Any], each: Event) -> None:
    connection.execute(
        "INSERT INTO rejected_events (rejection_id, tenant_id, event_id, event_type, customer_id, received_at, code,"
        " detail, path, raw) VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, 'schema_violation', '', '', '')",
        (TENANT, each.event_id, each.event_type, each.customer_id, NOW),
    )


def again(table: str, each: Event, column: str, value: str) -> str:
    """A statement that repeats the event's row but for one column."""
    changed = f"jsonb_populate_record(t, jsonb_build_object('{column}', {value}))"
    return f"INSERT INTO {table} SELECT ({changed}).* FROM {table} AS t WHERE event_id = '{each.event_id}'"


def expected(*more: Event) -> Expectation:
    expectation = Expectation()
    for each in (*SENT, *more):
        expectation.add(TENANT, each)
    return expectation


def test_what_was_sent_and_stored_once_is_in_order(connection: Any, redis_url: str) -> None:
    with open_redis(redis_url) as redis:
        assert examine(connection, redis, expected()).problems() == []


def test_an_acknowledged_event_that_is_nowhere_is_lost(connection: Any, redis_url: str) -> None:
    with open_redis(redis_url) as redis:
        found = examine(connection, redis, expected(event("other", 1)))

    assert found.lost
    assert found.lost.examples[0] == "(7, 'other:1') is not in events"


def test_of_an_erased_customer_nothing_is_left_but_that_the_ids_are_taken(
    connection: Any, redis_url: str
) -> None:
    gone = [event(GONE, number) for number in range(20)]
    for each in gone:
        if each.is_valid:
            key = event_key(TENANT, each.event_id)
            connection.execute("INSERT INTO event_keys VALUES (%s, %s, %s)", (key, TENANT, NOW))
    expectation = expected()
    for each in gone:
        expectation.add_erased(TENANT, each)

    with open_redis(redis_url) as redis:
        assert examine(connection, redis, expectation).problems() == []
        bought = next(each for each in gone if each.event_type == "purchase" and each.is_valid)
        put(connection, bought, claims=False)
        found = examine(connection, redis, expectation)

    assert found.unknown.examples == [
        f"(7, '{bought.event_id}') is in {table}" for table in ("events", "signals")
    ]
    assert [each.split(":")[0] for each in found.wrong_customers.examples] == [f"(7, '{GONE}')"]


def test_an_id_of_an_erased_event_that_is_free_again_is_seen(connection: Any, redis_url: str) -> None:
    expectation = expected()
    expectation.add_erased(TENANT, event(GONE, 1))

    with open_redis(redis_url) as redis:
        found = examine(connection, redis, expectation)

    assert found.lost.examples == [f"(7, '{GONE}:1') is not in event_keys"]


def test_what_an_erasure_took_is_no_difference_of_usage(connection: Any, redis_url: str) -> None:
    connection.execute("UPDATE usage SET events = events + 3")
    connection.execute(
        "INSERT INTO erasures (erasure_id, tenant_id, customer_hash, erased_at, state, finished_at, counts)"
        " VALUES (gen_random_uuid(), %s, decode(md5('x'), 'hex'), %s, 'done', now(), '{\"events\": 3}')",
        (TENANT, NOW),
    )

    with open_redis(redis_url) as redis:
        assert examine(connection, redis, expected()).problems() == []


UNFINISHED_ERASURE = (
    "INSERT INTO erasures (erasure_id, tenant_id, customer_hash, customer_id, erased_at)"
    f" VALUES (gen_random_uuid(), {TENANT}, decode(md5('x'), 'hex'), 'x', now())"
)
DAMAGES = [
    ("lost", f"DELETE FROM events WHERE event_id = '{UPDATED.event_id}'"),
    ("lost", f"DELETE FROM event_keys WHERE event_key = '{event_key(TENANT, SOLD.event_id)}'"),
    ("lost", f"DELETE FROM signals WHERE event_id = '{SOLD.event_id}'"),
    ("lost", f"DELETE FROM rejected_events WHERE event_id = '{REFUSED.event_id}'"),
    ("doubled", again("events", SOLD, "received_at", "now()")),
    ("doubled", again("signals", SOLD, "received_at", "now()")),
    ("doubled", again("rejected_events", REFUSED, "rejection_id", "gen_random_uuid()")),
    ("unknown", f"UPDATE events SET event_id = 'nobody' WHERE event_id = '{SOLD.event_id}'"),
    ("unknown", f"UPDATE signals SET event_id = '{UPDATED.event_id}' WHERE event_id = '{SOLD.event_id}'"),
    ("unknown", f"UPDATE signals SET tenant_id = 8 WHERE event_id = '{SOLD.event_id}'"),
    ("wrong_signals", f"UPDATE signals SET amount = amount + 0.01 WHERE event_id = '{SOLD.event_id}'"),
    ("wrong_signals", f"UPDATE signals SET customer_id = 'other' WHERE event_id = '{SOLD.event_id}'"),
    ("wrong_customers", f"UPDATE customers SET signal_count = 9 WHERE customer_id = '{SOLD.customer_id}'"),
    ("wrong_customers", f"UPDATE customers SET counts = '{{}}' WHERE customer_id = '{SOLD.customer_id}'"),
    ("wrong_customers", f"UPDATE customers SET totals = '{{}}' WHERE customer_id = '{SOLD.customer_id}'"),
    ("wrong_customers", f"DELETE FROM customers WHERE customer_id = '{SOLD.customer_id}'"),
    ("left_over", f"INSERT INTO outbox VALUES (1, {TENANT}, '{{}}', now(), now())"),
    ("left_over", "UPDATE usage SET events = events + 1"),
    ("left_over", UNFINISHED_ERASURE),
    ("left_over", f"INSERT INTO usage_parts VALUES ({TENANT}, '2026-10-01', 1, 1)"),
    ("left_over", f"INSERT INTO index_failures VALUES (gen_random_uuid(), {TENANT}, now(), 400, '')"),
]


@pytest.mark.parametrize(
    ("kind", "damage"), DAMAGES, ids=[f"{number}-{kind}" for number, (kind, _) in enumerate(DAMAGES)]
)
def test_each_kind_of_damage_is_seen(connection: Any, redis_url: str, kind: str, damage: str) -> None:
    assert connection.execute(damage).rowcount == 1

    with open_redis(redis_url) as redis:
        found = examine(connection, redis, expected())

    assert getattr(found, kind)
    assert found.problems()


def test_an_entry_left_in_a_lane_is_seen(connection: Any, redis_url: str) -> None:
    with open_redis(redis_url) as redis:
        redis.xadd(LANES[7], encode_entry(TENANT, [Record("x", SENT_AT, b"{}")]))
        found = examine(connection, redis, expected())

    assert found.left_over == {f"entries in {LANES[7]}": 1}
