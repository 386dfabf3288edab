import json
import resource
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidEventError
from common.event_types.limits import check_schema
from common.event_types.signal_type import SignalType
from common.queue.streams import Record
from worker.domains import DOMAINS
from worker.validation.events import EventTypes, TenantType, ValidEvent, same_content, validate
from worker.validation.violations import SchemaViolationError

NOW = datetime(2026, 11, 21, tzinfo=UTC)
TYPES = EventTypes(DOMAINS)


def record(raw: bytes | None = None, **changes: Any) -> Record:
    event = {"event_type": "purchase", "customer_id": "c1", "data": {"amount": "1.00", "currency": "USD"}}
    return Record("e1", NOW, raw if raw is not None else json.dumps(event | changes).encode())


def check(one: Record, types: EventTypes = TYPES, tenant_id: int = 1) -> ValidEvent:
    return validate(tenant_id, one, types, max_nesting=16)


def refusal(one: Record, types: EventTypes = TYPES) -> InvalidEventError:
    with pytest.raises(InvalidEventError) as caught:
        check(one, types)
    return caught.value


def with_number(number: str) -> Record:
    return record(
        b'{"event_type": "page_viewed", "customer_id": "c1", "data": {"url": "/", "n": '
        + number.encode()
        + b"}}"
    )


def test_a_valid_event_carries_its_meaning_and_its_texts() -> None:
    one = record()
    valid = check(one)

    assert valid.raw == one.raw
    assert json.loads(valid.data) == {"amount": "1.00", "currency": "USD"}
    assert valid.projection.signals[0].revenue == Decimal("1.00")


def test_an_event_without_occurred_at_occurred_when_it_was_received() -> None:
    assert check(record()).event.occurred_at == NOW
    assert check(record(occurred_at="1997-01-01T00:00:00Z")).event.occurred_at.year == 1997


def test_numbers_keep_all_their_digits() -> None:
    valid = check(with_number("0.1000000000000000055511151231257827021181583404541015625"))

    assert valid.event.data["n"] == Decimal("0.1000000000000000055511151231257827021181583404541015625")


def test_a_schema_violation_names_the_field() -> None:
    error = refusal(record(data={"amount": True, "currency": "USD"}))

    assert (error.code, error.path) == ("schema_violation", "/data/amount")


def test_what_no_store_holds_is_refused_before_the_schema_is_asked() -> None:
    error = refusal(record(data={"amount": True, "note": "\0"}))

    assert (error.code, error.path) == ("unsupported_character", "/data/note")


def tenant_type(version: int, schema: dict[str, Any], **changes: Any) -> TenantType:
    row = TenantType(1, "webinar_attended", version, schema, "intent", 0.7)
    return row._replace(**changes)


def test_a_tenants_own_type_is_known_to_that_tenant_only() -> None:
    types = EventTypes(DOMAINS)
    types.replace_tenant_types([tenant_type(1, {"required": ["title"]})])
    one = record(event_type="webinar_attended", data={"title": "x", "amount": "5", "currency": "EUR"})

    (signal,) = check(one, types).projection.signals

    assert (signal.signal_type, signal.score) == (SignalType.INTENT, 0.7)
    assert (signal.amount, signal.currency, signal.revenue) == (Decimal(5), "EUR", Decimal(0))
    with pytest.raises(InvalidEventError, match="no event type"):
        check(one, types, tenant_id=2)


def test_an_event_of_an_older_version_of_its_type_is_still_accepted() -> None:
    types = EventTypes(DOMAINS)
    types.replace_tenant_types([tenant_type(1, {"required": ["old"]}), tenant_type(2, {"required": ["new"]})])

    check(record(event_type="webinar_attended", data={"old": 1}), types)
    check(record(event_type="webinar_attended", data={"new": 1}), types)
    assert refusal(record(event_type="webinar_attended", data={}), types).code == "schema_violation"


def test_a_version_that_cannot_be_used_is_left_out() -> None:
    types = EventTypes(DOMAINS)
    backtracking = tenant_type(2, {"properties": {"old": {"pattern": "(?=a)"}}})
    types.replace_tenant_types([tenant_type(1, {"required": ["old"]}), backtracking])

    check(record(event_type="webinar_attended", data={"old": 1}), types)
    assert refusal(record(event_type="webinar_attended", data={}), types).code == "schema_violation"

    types.replace_tenant_types([backtracking])
    assert refusal(record(event_type="webinar_attended", data={}), types).code == "unknown_event_type"


# Each element of a list violates all of these.
LABORIOUS: dict[str, Any] = {"items": {"allOf": [{"minimum": number} for number in range(10, 70)]}}


def laborious(wrapped: dict[str, Any]) -> EventTypes:
    schema = {"properties": {"a": wrapped, "b": {"type": "string"}}}
    check_schema(schema)
    types = EventTypes(DOMAINS)
    types.replace_tenant_types([tenant_type(1, schema)])
    return types


@pytest.mark.parametrize(
    ("schema", "place", "keyword"),
    [
        (LABORIOUS, "/data/a/*", "minimum"),
        ({"anyOf": [LABORIOUS, False]}, "/data", "schema"),
        ({"oneOf": [LABORIOUS, {"type": "string"}]}, "/data", "schema"),
    ],
)
@pytest.mark.timeout(30)
def test_an_event_with_millions_of_errors_is_refused_for_one(
    schema: dict[str, Any], place: str, keyword: str
) -> None:
    types = laborious(schema)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    error = refusal(record(event_type="webinar_attended", data={"a": [1] * 120_000}), types)

    assert isinstance(error, SchemaViolationError)
    assert (error.code, error.place, error.keyword) == ("schema_violation", place, keyword)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_what_an_event_of_usual_size_violates_is_told_whatever_the_schema_uses() -> None:
    types = laborious({"anyOf": [{"items": {"minimum": 10}}, {"type": "string"}]})

    error = refusal(record(event_type="webinar_attended", data={"a": [1] * 1_000}), types)
    other = refusal(record(event_type="webinar_attended", data={"a": [10], "b": 1}), types)

    assert isinstance(error, SchemaViolationError)
    assert (error.path, error.keyword) == ("/data/a", "anyOf")
    assert other.path == "/data/b"


def test_the_platforms_types_cannot_be_overridden() -> None:
    types = EventTypes(DOMAINS)
    types.replace_tenant_types([tenant_type(9, {}, event_type="purchase")])

    assert refusal(record(data={}), types).code == "schema_violation"


@given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.none() | st.booleans(), max_size=5)
)
def test_any_data_is_valid_or_refused_with_a_reason(data: dict[str, Any]) -> None:
    try:
        check(record(data=data))
    except InvalidEventError as error:
        assert error.detail
        assert error.path.startswith("/data")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ('{"event_type":"a","customer_id":"c","data":{"x":1.10}}', True),
        ('{ "data": {"x": 1.1}, "customer_id": "c", "event_type": "a" }', True),
        (
            '{"event_type":"a","customer_id":"c","data":{"x":1.10},"occurred_at":"2020-01-01T01:00:00+01:00"}',
            True,
        ),
        ('{"event_type":"a","customer_id":"c","data":{"x":1.10},"note":"extra"}', True),
        ('{"event_type":"a","customer_id":"c","data":{"x":1.11}}', False),
        ('{"event_type":"a","customer_id":"d","data":{"x":1.10}}', False),
        (
            '{"event_type":"a","customer_id":"c","data":{"x":1.10},"occurred_at":"2020-01-01T00:00:01Z"}',
            False,
        ),
    ],
)
def test_content_is_compared_by_what_it_says(other: str, same: bool) -> None:
    first = '{"event_type":"a","customer_id":"c","data":{"x":1.10},"occurred_at":"2020-01-01T00:00:00Z"}'

    assert same_content(first.encode(), other.encode()) is same
