import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.search.documents import MAX_TEXT_CHARACTERS, SignalRow, document
from common.search.template import generation_of, index_name, month_of

ROW = SignalRow(
    tenant_id=7,
    signal_id="01234567-89ab-8def-8123-456789abcd00",
    event_id="order-1",
    event_type="quote_accepted",
    customer_id="07592",
    signal_type="high_intent",
    signal_score=0.9,
    occurred_at=datetime(1997, 1, 1, tzinfo=UTC),
    received_at=datetime(2026, 11, 21, 10, 30, 0, 123456, tzinfo=UTC),
    trace_id=None,
    amount=Decimal("13990.930"),
    currency="USD",
    data='{"note": "Fast delivery", "amount": 13990.930, "lines": [{"sku": "A-1"}, "gift"]}',
)

# What jsonb can hold: no U+0000, no lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
DATA = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=20,
    ),
    max_size=5,
)


def test_the_source_is_the_signal_of_the_api_with_tenant_and_text() -> None:
    written = document(ROW)

    assert written.index == "signals-2026-11"
    assert written.id == ROW.signal_id
    assert json.loads(written.source) == {
        "tenant_id": 7,
        "signal_id": ROW.signal_id,
        "event_id": "order-1",
        "event_type": "quote_accepted",
        "customer_id": "07592",
        "signal_type": "high_intent",
        "signal_score": 0.9,
        "occurred_at": "1997-01-01T00:00:00Z",
        "received_at": "2026-11-21T10:30:00.123456Z",
        "trace_id": None,
        "amount": "13990.930",
        "currency": "USD",
        "data": {"note": "Fast delivery", "amount": 13990.93, "lines": [{"sku": "A-1"}, "gift"]},
        "text": "07592 quote accepted high intent 13990.930 USD Fast delivery A-1 gift",
    }


@given(DATA)
def test_any_data_makes_one_line_of_json_and_keeps_its_value(data: dict[str, object]) -> None:
    source = document(ROW._replace(data=json.dumps(data, ensure_ascii=False))).source

    assert b"\n" not in source
    assert json.loads(source)["data"] == data


@given(st.lists(TEXT, max_size=8), st.integers(0, 3 * MAX_TEXT_CHARACTERS))
def test_the_text_is_bounded_and_begins_with_customer_and_type(leaves: list[str], padding: int) -> None:
    data = json.dumps({"leaves": leaves, "padding": "x " * padding})

    text = json.loads(document(ROW._replace(data=data)).source)["text"]

    assert len(text) <= MAX_TEXT_CHARACTERS
    assert text.startswith("07592 quote accepted high intent 13990.930 USD")


@pytest.mark.parametrize("number", ["1.10", "123456789012345678901234567890", "9" * 5000, "1e400", "-0.0"])
def test_numbers_in_data_pass_through_digit_by_digit(number: str) -> None:
    source = document(ROW._replace(data=f'{{"x": {number}}}')).source

    assert (
        bytes(msgspec.json.decode(source, type=dict[str, msgspec.Raw])["data"])
        == b'{"x": %b}' % number.encode()
    )


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(Decimal("0E-8"), "0.00000000"), (Decimal("1E+3"), "1000"), (Decimal("0.10"), "0.10"), (None, None)],
)
def test_an_amount_is_its_exact_decimal_string(amount: Decimal | None, shown: str | None) -> None:
    assert json.loads(document(ROW._replace(amount=amount)).source)["amount"] == shown


@pytest.mark.parametrize(
    ("instant", "shown"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_any_year_of_occurrence_keeps_four_digits(instant: datetime, shown: str) -> None:
    assert json.loads(document(ROW._replace(occurred_at=instant)).source)["occurred_at"] == shown


def test_the_month_of_an_index_is_that_of_utc() -> None:
    assert index_name(datetime(2026, 12, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))) == "signals-2026-11"
    assert index_name(datetime(203, 4, 5, tzinfo=UTC)) == "signals-0203-04"


@pytest.mark.parametrize("generation", [1, 2, 13])
def test_the_name_of_an_index_tells_its_month_and_generation(generation: int) -> None:
    name = index_name(date(203, 4, 5), generation)

    assert (month_of(name), generation_of(name)) == (date(203, 4, 1), generation)


@pytest.mark.parametrize(
    "name",
    [
        "signals",
        "signals-2026-13",
        "signals-0000-01",
        "signals-2026-11-g",
        "signals-2026-11-old",
        "my-signals-2026-11",
    ],
)
def test_an_index_of_another_name_is_of_no_month(name: str) -> None:
    assert (month_of(name), generation_of(name)) == (None, 0)
