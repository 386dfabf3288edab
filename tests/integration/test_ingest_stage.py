"""The ingest stage against real Redis and PostgreSQL: exactly once, whatever comes twice."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import redis.exceptions
import structlog
from structlog.testing import capture_logs

from common.errors import DatabaseUnavailableError, QueueUnavailableError
from common.queue.streams import LANES, Record, depth, lane_of
from worker.isolation import BatchFailedError
from worker.store import Store
from worker.validation import validate

Pipeline = Any  # of conftest.py

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TENANT = 7


def purchase(event_id: str, *, customer: str = "c1", amount: str = "10.00", **envelope: Any) -> bytes:
    event = {
        "event_id": event_id,
        "event_type": "purchase",
        "customer_id": customer,
        "occurred_at": "1997-01-01T00:00:00Z",
        "data": {"amount": amount, "currency": "USD"},
    }
    return json.dumps(event | envelope).encode()


def test_an_event_becomes_a_key_an_event_a_signal_a_customer_and_an_outbox_row(pipeline: Pipeline) -> None:
    raw = purchase("e1", trace_id="t1", amount="12.50")
    pipeline.push(raw)

    assert pipeline.drain() == 1

    (event,) = pipeline.rows("SELECT * FROM events")
    assert event["raw"] == raw.decode()
    assert event["occurred_at"] == datetime(1997, 1, 1, tzinfo=UTC)
    assert event["received_at"] == NOW
    assert event["trace_id"] == "t1"
    (key,) = pipeline.rows("SELECT * FROM event_keys")
    assert (key["event_key"], key["received_at"]) == (event["event_key"], NOW)
    (signal,) = pipeline.rows("SELECT * FROM signals")
    assert (signal["amount"], signal["currency"]) == (Decimal("12.50"), "USD")
    assert (signal["signal_type"], signal["customer_id"]) == ("revenue", "c1")
    (customer,) = pipeline.rows("SELECT * FROM customers")
    assert (customer["signal_count"], customer["counts"]) == (1, {"purchase": 1})
    assert customer["signal_counts"] == {"revenue": 1}
    assert pipeline.value("SELECT totals->>'USD' FROM customers") == "12.50"
    (row,) = pipeline.rows("SELECT * FROM outbox")
    assert (row["batch_id"], row["signal_ids"]) == (event["batch_id"], [signal["signal_id"]])
    assert row["indexed_at"] is None


def test_what_was_stored_leaves_the_lane(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"), purchase("e2"))
    assert depth(pipeline.redis) == {lane_of(TENANT): 2}

    pipeline.drain()

    assert depth(pipeline.redis) == {}
    assert pipeline.redis.xlen(lane_of(TENANT)) == 0


@pytest.mark.parametrize("apart", ["in one batch", "in two batches", "a month later"])
def test_the_same_event_again_changes_nothing(pipeline: Pipeline, apart: str) -> None:
    raw = purchase("e1")
    if apart == "in one batch":
        pipeline.push(raw, raw)
    else:
        pipeline.push(raw)
        if apart == "a month later":
            pipeline.drain()
        pipeline.push(raw, received_at=NOW + timedelta(days=31 if apart == "a month later" else 0))

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 1
    assert pipeline.value("SELECT count(*) FROM signals") == 1
    assert pipeline.value("SELECT signal_count FROM customers") == 1
    assert pipeline.value("SELECT totals->>'USD' FROM customers") == "10.00"
    assert pipeline.metrics.registry.get_sample_value("sspp_events_duplicate_total") == 1
    assert pipeline.metrics.registry.get_sample_value("sspp_events_conflict_total") == 0


def test_the_same_event_without_occurred_at_is_no_conflict(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"), purchase("e1", occurred_at=None))

    pipeline.drain()

    assert pipeline.metrics.registry.get_sample_value("sspp_events_conflict_total") == 0


def test_only_the_line_of_the_batch_names_all_its_entries(pipeline: Pipeline) -> None:
    """With a thousand single events in the queue, a line for each that names them all would be megabytes."""
    pipeline.push(purchase("e1"))
    pipeline.push(purchase("e1", amount="2.00"))
    pipeline.push(purchase("e2", amount="-1"))

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        pipeline.drain()

    batches = {line["batch_id"]: line["entries"] for line in logs if line["event"] == "batch_stored"}
    assert sum(map(len, batches.values())) == 3
    single = [line for line in logs if line["event"] in ("event_conflict", "event_rejected")]
    assert len(single) == 2
    assert not any("entries" in line for line in single)
    assert {line["batch_id"] for line in single} <= batches.keys()


@pytest.mark.parametrize("batches", [1, 2])
def test_other_content_under_a_known_id_is_counted_as_a_conflict_and_not_stored(
    pipeline: Pipeline, batches: int
) -> None:
    pipeline.push(purchase("e1", amount="1.00"))
    if batches == 2:
        pipeline.drain()
    pipeline.push(purchase("e1", amount="2.00"))

    pipeline.drain()

    assert pipeline.metrics.registry.get_sample_value("sspp_events_conflict_total") == 1
    assert pipeline.value("SELECT totals->>'USD' FROM customers") == "1.00"


def test_two_tenants_may_use_the_same_event_id(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"), tenant=7)
    pipeline.push(purchase("e1"), tenant=8)

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 2
    assert pipeline.value("SELECT count(DISTINCT batch_id) FROM outbox") == 1
    assert sorted(row["tenant_id"] for row in pipeline.rows("SELECT tenant_id FROM outbox")) == [7, 8]


def test_two_workers_with_the_same_events_at_once_store_each_once(pipeline: Pipeline) -> None:
    raws = [purchase(f"e{number}", customer=f"c{number % 7}") for number in range(400)]
    for start in range(0, 400, 50):
        pipeline.push(*raws[start : start + 50])
        pipeline.push(*reversed(raws[start : start + 50]))
    together = threading.Barrier(2)

    def work(name: str) -> None:
        stage = pipeline.stage(name)
        together.wait()
        while stage.step(0.2):
            pass

    threads = [threading.Thread(target=work, args=(f"drain-{number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert pipeline.value("SELECT count(*) FROM events") == 400
    assert pipeline.value("SELECT sum(signal_count) FROM customers") == 400
    assert pipeline.value("SELECT sum((totals->>'USD')::numeric) FROM customers") == Decimal("4000.00")
    assert pipeline.metrics.registry.get_sample_value("sspp_events_duplicate_total") == 400
    assert depth(pipeline.redis) == {}


def test_a_batch_committed_but_not_acknowledged_is_taken_again_without_effect(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"))
    dead = pipeline.stage("dead")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead._consumer, "acknowledge", _die)
        with pytest.raises(KeyboardInterrupt):
            dead.step(0)
    assert pipeline.value("SELECT count(*) FROM events") == 1

    heir = pipeline.stage("heir")
    assert heir.rescue({"heir"}) == 1
    heir.step(0)

    assert depth(pipeline.redis) == {}
    assert pipeline.value("SELECT signal_count FROM customers") == 1


def test_the_work_of_a_living_drain_is_left_alone(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"))
    busy = pipeline.stage("busy")
    busy._held = busy._consumer.read(1, 0)

    assert pipeline.stage("other").rescue({"busy", "other"}) == 0


def test_while_postgresql_is_away_the_batch_is_kept_and_stored_afterwards(pipeline: Pipeline) -> None:
    class AwayOnce(Store):
        away = True

        def write(self, *arguments: Any) -> Any:
            if self.away:
                self.away = False
                raise DatabaseUnavailableError
            return super().write(*arguments)

    pipeline.push(purchase("e1"))
    stage = pipeline.stage(store=AwayOnce(pipeline.pool))

    with pytest.raises(DatabaseUnavailableError):
        stage.step(0)
    assert depth(pipeline.redis) == {lane_of(TENANT): 1}
    assert stage.step(0) == 1
    assert pipeline.value("SELECT count(*) FROM events") == 1


@pytest.mark.parametrize(
    ("raw", "code", "path"),
    [
        (purchase("bad", event_type="no_such_type"), "unknown_event_type", "/event_type"),
        (purchase("bad", data={"amount": "-1", "currency": "USD"}), "schema_violation", "/data/amount"),
        (
            purchase("bad", data={"amount": 1, "currency": "USD", "note": "\0"}),
            "unsupported_character",
            "/data/note",
        ),
        (purchase("bad").replace(b'"10.00"', b"1e-5000"), "number_out_of_range", "/data/amount"),
    ],
)
def test_a_refused_event_is_kept_with_its_reason_and_harms_no_neighbour(
    pipeline: Pipeline, raw: bytes, code: str, path: str
) -> None:
    pipeline.push(purchase("e1"), raw, purchase("e2"))

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 2
    (refused,) = pipeline.rows("SELECT * FROM rejected_events")
    assert (refused["code"], refused["path"], refused["raw"]) == (code, path, raw.decode())
    assert (refused["event_id"], refused["customer_id"], refused["status"]) == ("bad", "c1", "open")
    assert depth(pipeline.redis) == {}


def test_a_refused_event_does_not_claim_its_id(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1", amount="nonsense"))
    pipeline.drain()
    pipeline.push(purchase("e1", amount="3.00"))
    pipeline.drain()

    assert pipeline.value("SELECT totals->>'USD' FROM customers") == "3.00"


def test_the_same_refused_event_again_is_one_row(pipeline: Pipeline) -> None:
    for _ in range(3):
        pipeline.push(purchase("e1", amount="nonsense"))
        pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM rejected_events") == 1


def test_an_event_that_postgresql_cannot_hold_is_refused_alone(pipeline: Pipeline) -> None:
    class Picky(Store):
        def write(self, events: Any, refused: Any) -> Any:
            if any(valid.event.event_id == "e5" for valid in events):
                raise psycopg.DataError("value out of range")
            return super().write(events, refused)

    pipeline.push(*(purchase(f"e{number}") for number in range(10)), purchase("bad", amount="x"))
    stage = pipeline.stage(store=Picky(pipeline.pool))
    while stage.step(0):
        pass

    assert pipeline.value("SELECT count(*) FROM events") == 9
    refused = pipeline.rows("SELECT event_id, code FROM rejected_events ORDER BY event_id")
    assert [(row["event_id"], row["code"]) for row in refused] == [
        ("bad", "schema_violation"),
        ("e5", "unstorable"),
    ]


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize("refused", [0, 1])
def test_the_guilty_event_is_found_wherever_it_stands(pipeline: Pipeline, bad: int, refused: int) -> None:
    class Picky(Store):
        def write(self, events: Any, refused: Any) -> Any:
            if any(valid.event.event_id == f"e{bad}" for valid in events):
                raise psycopg.DataError("value out of range")
            return super().write(events, refused)

    pipeline.push(*(purchase(f"e{number}") for number in range(3)))
    if refused:
        pipeline.push(purchase("invalid", amount="x"))
    stage = pipeline.stage(store=Picky(pipeline.pool))
    while stage.step(0):
        pass

    assert pipeline.value("SELECT count(*) FROM events") == 2
    assert pipeline.value("SELECT count(*) FROM rejected_events") == 1 + refused
    assert depth(pipeline.redis) == {}


def test_a_fault_of_the_schema_refuses_nothing_and_keeps_the_work(pipeline: Pipeline) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute("ALTER TABLE customers RENAME COLUMN totals TO sums")
    pipeline.push(*(purchase(f"e{number}") for number in range(5)))

    stage = pipeline.stage()
    for _ in range(3):
        with pytest.raises(BatchFailedError, match="UndefinedColumn"):
            stage.step(0)
    assert pipeline.value("SELECT count(*) FROM rejected_events") == 0
    assert depth(pipeline.redis) == {lane_of(TENANT): 5}

    with pipeline.pool.connection() as connection:
        connection.execute("ALTER TABLE customers RENAME COLUMN sums TO totals")
    assert stage.step(0) == 5
    assert pipeline.value("SELECT count(*) FROM events") == 5


def test_an_event_that_breaks_our_code_is_refused_alone(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.preparation.validate", _broken_for("e1"))
    pipeline.push(*(purchase(f"e{number}") for number in range(3)))

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 2
    (refused,) = pipeline.rows("SELECT event_id, code FROM rejected_events")
    assert (refused["event_id"], refused["code"]) == ("e1", "processing_failed")


@pytest.mark.parametrize("bad", [0, 5])
def test_an_event_that_breaks_our_code_while_it_is_stored_is_refused_alone(
    pipeline: Pipeline, bad: int
) -> None:
    class Breaking(Store):
        def write(self, events: Any, refused: Any) -> Any:
            if any(valid.event.event_id == f"e{bad}" for valid in events):
                raise ZeroDivisionError
            return super().write(events, refused)

    pipeline.push(*(purchase(f"e{number}") for number in range(6)))
    stage = pipeline.stage(store=Breaking(pipeline.pool))
    while stage.step(0):
        pass

    assert pipeline.value("SELECT count(*) FROM events") == 5
    (refused,) = pipeline.rows("SELECT event_id, code FROM rejected_events")
    assert (refused["event_id"], refused["code"]) == (f"e{bad}", "processing_failed")
    assert depth(pipeline.redis) == {}


def test_odd_numbers_outside_of_data_make_a_conflict_and_no_harm(pipeline: Pipeline) -> None:
    for odd in (b"1e99999999999999999999", b"9" * 5000):
        raw = purchase("e1")
        pipeline.push_records([Record("e1", NOW, raw[:-1] + b', "x": ' + odd + b"}")])
        pipeline.push_records([Record("e1", NOW, raw[:-1] + b', "x":  ' + odd + b"}")])
    pipeline.push(purchase("e2", customer="other"), tenant=8)

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 2
    assert depth(pipeline.redis) == {}


def test_entries_whose_hand_over_broke_off_are_read_again(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"))
    pipeline.push(purchase("e2"))
    stage = pipeline.stage()
    # Redis hands the first entry over, and the reply is lost on its way.
    lost = stage._consumer._redis.xreadgroup("workers", "drain-1", {lane_of(TENANT): ">"}, count=1)
    assert lost
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage._consumer._redis, "xreadgroup", _lose_connection)
        with pytest.raises(QueueUnavailableError):
            stage.step(0)

    while stage.step(0):
        pass

    assert pipeline.value("SELECT count(*) FROM events") == 2


def test_a_type_of_a_tenant_that_cannot_be_used_stops_nobody(pipeline: Pipeline) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute(
            "INSERT INTO event_types (tenant_id, event_type, version, schema) VALUES"
            """ (7, 'broken', 1, '{"type": 17}'), (7, 'abroad', 1, '{"$ref": "http://127.0.0.1:1/x.json"}')"""
        )
    pipeline.push(purchase("e1"), purchase("b1", event_type="broken"), purchase("b2", event_type="abroad"))

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 1
    codes = pipeline.rows("SELECT DISTINCT code FROM rejected_events")
    assert codes == [{"code": "unknown_event_type"}]


def test_a_type_that_a_tenant_registers_is_accepted_without_a_restart(pipeline: Pipeline) -> None:
    raw = purchase("e1", event_type="webinar_attended", data={"title": "Scaling"})
    stage = pipeline.stage()
    stage._types_loaded = float("-inf")
    with pipeline.pool.connection() as connection:
        connection.execute(
            "INSERT INTO event_types (tenant_id, event_type, version, schema, signal_type, signal_score)"
            """ VALUES (7, 'webinar_attended', 1, '{"required": ["title"]}', 'engagement', 0.4)"""
        )
    pipeline.push(raw, tenant=7)
    pipeline.push(raw, tenant=8)
    while stage.step(0):
        pass

    (signal,) = pipeline.rows("SELECT tenant_id, signal_type, signal_score FROM signals")
    assert (signal["tenant_id"], signal["signal_type"]) == (7, "engagement")
    (refused,) = pipeline.rows("SELECT tenant_id, code FROM rejected_events")
    assert (refused["tenant_id"], refused["code"]) == (8, "unknown_event_type")


@pytest.mark.parametrize("year", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_any_instant_from_year_1_to_9999_is_stored(pipeline: Pipeline, year: str) -> None:
    pipeline.push(purchase("e1", occurred_at=year))

    pipeline.drain()

    assert pipeline.value("SELECT occurred_at FROM signals") == datetime.fromisoformat(year)
    assert pipeline.value("SELECT heat FROM customers") is not None


def test_an_event_of_a_month_without_partition_is_stored_all_the_same(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"), received_at=datetime(2031, 5, 1, tzinfo=UTC))

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 1


def test_the_newest_profile_change_wins_field_by_field_whatever_the_order(pipeline: Pipeline) -> None:
    def update(event_id: str, day: int, **data: Any) -> bytes:
        return purchase(
            event_id, event_type="customer_updated", occurred_at=f"2020-01-{day:02}T00:00:00Z", data=data
        )

    newest = update("u3", 3, email="new@example.com", custom_fields={"plan": None, "seats": 5})
    middle = update("u2", 2, name="Ada", email="old@example.com", tags=["vip"], custom_fields={"plan": "pro"})
    oldest = update("u1", 1, name="A.", phone="+44 1", tags=["new"])
    for raw in (newest, middle, oldest):
        pipeline.push(raw)
        pipeline.drain()

    (customer,) = pipeline.rows("SELECT * FROM customers")
    assert (customer["name"], customer["email"], customer["phone"]) == ("Ada", "new@example.com", "+44 1")
    assert (customer["custom_fields"], customer["tags"]) == ({"seats": 5}, ["vip"])
    assert customer["signal_count"] == 0
    assert pipeline.value("SELECT count(*) FROM signals") == 0


def test_numbers_in_custom_fields_stay_numbers_with_all_their_digits(pipeline: Pipeline) -> None:
    for number, fields in enumerate(
        ['{"exact": 0.10, "deep": [1.5, 1e2, -7]}', '{"digits": 0.12345678901234567890}']
    ):
        raw = purchase(f"u{number}", event_type="customer_updated", data={"custom_fields": "?"})
        pipeline.push(raw.replace(b'"?"', fields.encode()))
        pipeline.drain()

    fields = pipeline.value("SELECT custom_fields::text FROM customers")
    assert fields == '{"deep": [1.5, 100, -7], "exact": 0.10, "digits": 0.12345678901234567890}'


def test_text_with_tabs_newlines_and_backslashes_survives_the_copy(pipeline: Pipeline) -> None:
    odd = 'tab\t newline\n return\r backslash\\ quote" \\N \\. ünï ☃ \u2028'
    raw = json.dumps(
        {
            "event_id": odd,
            "event_type": "purchase",
            "customer_id": odd,
            "trace_id": odd,
            "data": {"amount": 1, "currency": "USD", "note": odd},
        },
        indent=1,
        ensure_ascii=False,
    ).encode()
    pipeline.push(raw)

    pipeline.drain()

    (event,) = pipeline.rows("SELECT * FROM events")
    assert event["raw"] == raw.decode()
    assert event["event_id"] == event["customer_id"] == event["trace_id"] == odd
    assert pipeline.value("SELECT data->>'note' FROM signals") == odd


def test_totals_are_exact_beyond_28_digits(pipeline: Pipeline) -> None:
    amount = "123456789012345.12345678901234567891"
    pipeline.push(purchase("e1", amount=amount), purchase("e2", amount="0.00000000000000000001"))
    pipeline.push(purchase("r1", event_type="refund", amount=amount))

    pipeline.drain()

    assert pipeline.value("SELECT totals->>'USD' FROM customers") == "0.00000000000000000001"


def test_an_entry_that_is_none_of_ours_is_set_aside(pipeline: Pipeline) -> None:
    pipeline.redis.xadd(LANES[3], {b"records": b"\xff", b"tenant": b"7"})
    pipeline.push(purchase("e1"))

    pipeline.drain()

    assert pipeline.redis.xlen("sspp:ingest:quarantine") == 1
    assert pipeline.redis.xlen(LANES[3]) == 0
    assert pipeline.value("SELECT count(*) FROM events") == 1


def test_a_read_follows_the_size_of_entries(pipeline: Pipeline) -> None:
    for number in range(300):
        pipeline.push(purchase(f"e{number}"))
    stage = pipeline.stage()

    steps = 0
    while stage.step(0):
        steps += 1

    assert pipeline.value("SELECT count(*) FROM events") == 300
    assert steps < 15


def _broken_for(prefix: str) -> Callable[..., Any]:
    def broken(tenant_id: int, record: Record, *arguments: Any, **options: Any) -> Any:
        if record.event_id.startswith(prefix):
            raise ZeroDivisionError
        return validate(tenant_id, record, *arguments, **options)

    return broken


def _lose_connection(*_: Any, **__: Any) -> None:
    raise redis.exceptions.ConnectionError


def _die(*_: Any) -> None:
    raise KeyboardInterrupt
