"""What is stored of an event: the rows of the tables, exact to the last digit."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from ingest_pipeline import IngestPipeline as Pipeline
from ingesting import NOON, purchase


def test_an_event_becomes_a_key_an_event_a_signal_a_customer_and_an_outbox_row(pipeline: Pipeline) -> None:
    raw = purchase("e1", trace_id="t1", amount="12.50")
    pipeline.push(raw)

    assert pipeline.drain() == 1

    (event,) = pipeline.rows("SELECT * FROM events")
    assert event["raw"] == raw.decode()
    assert event["occurred_at"] == datetime(1997, 1, 1, tzinfo=UTC)
    assert event["received_at"] == NOON
    assert event["trace_id"] == "t1"
    (key,) = pipeline.rows("SELECT * FROM event_keys")
    assert (key["event_key"], key["received_at"]) == (event["event_key"], NOON)
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


def test_numbers_in_custom_fields_stay_numbers_with_all_their_digits(pipeline: Pipeline) -> None:
    for number, fields in enumerate(
        ['{"exact": 0.10, "deep": [1.5, 1e2, -7]}', '{"digits": 0.12345678901234567890}']
    ):
        raw = purchase(f"u{number}", event_type="customer_updated", data={"custom_fields": "?"})
        pipeline.push(raw.replace(b'"?"', fields.encode()))
        pipeline.drain()

    fields = pipeline.value("SELECT custom_fields::text FROM customers")
    assert fields == '{"deep": [1.5, 100, -7], "exact": 0.10, "digits": 0.12345678901234567890}'


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
