import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.envelope import (
    event_key,
    event_key_of,
    nesting,
    new_event_id,
    parse_envelope,
    parse_instant,
    signal_id,
)
from common.errors import InvalidEventError

VALID = {"event_type": "purchase", "customer_id": "c1", "data": {}}

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


def refusal(raw: bytes, *, max_nesting: int = 16) -> InvalidEventError:
    with pytest.raises(InvalidEventError) as caught:
        parse_envelope(raw, max_nesting=max_nesting)
    return caught.value


def event(**changes: object) -> bytes:
    return json.dumps(VALID | changes).encode()


def test_a_minimal_envelope_is_accepted() -> None:
    envelope = parse_envelope(event(), max_nesting=16)

    assert (envelope.event_type, envelope.customer_id) == ("purchase", "c1")
    assert envelope.event_id is envelope.occurred_at is envelope.trace_id is None


def test_unknown_fields_are_ignored() -> None:
    assert parse_envelope(event(source="crm"), max_nesting=16).event_type == "purchase"


@pytest.mark.parametrize(
    ("raw", "code", "path"),
    [
        (b"", "invalid_json", ""),
        (b"{", "invalid_json", ""),
        (event()[:-1] + b',"x":NaN}', "invalid_json", ""),
        (event(data={"a": "?"}).replace(b"?", b"\xff"), "invalid_json", ""),
        (event(data={"a": "?"}).replace(b"?", b"\\ud800"), "invalid_json", ""),
        (event().replace(b"customer", b"cus\xfftomer"), "invalid_json", ""),
        (b"17", "invalid_envelope", ""),
        (b"[]", "invalid_envelope", ""),
        (b'{"event_type": "purchase", "data": {}}', "invalid_envelope", ""),
        (event(event_id=7), "invalid_envelope", "/event_id"),
        (event(event_id=""), "invalid_envelope", "/event_id"),
        (event(event_id="x" * 201), "invalid_envelope", "/event_id"),
        (event(customer_id="a\0b"), "invalid_envelope", "/customer_id"),
        (event(trace_id=""), "invalid_envelope", "/trace_id"),
        (event(event_type="Purchase!"), "invalid_envelope", "/event_type"),
        (event(data=[]), "invalid_envelope", "/data"),
        (event(data=None), "invalid_envelope", "/data"),
        (event(occurred_at="yesterday"), "invalid_occurred_at", "/occurred_at"),
        (event(data={"a": [[[]]]}), "nesting_too_deep", ""),
        (event()[:-1] + b',"x":' + b"[" * 100_000, "nesting_too_deep", ""),
    ],
)
def test_a_bad_envelope_is_refused_with_code_and_path(raw: bytes, code: str, path: str) -> None:
    error = refusal(raw, max_nesting=4)

    assert (error.code, error.path) == (code, path)
    assert error.detail


def test_identifiers_of_one_and_of_two_hundred_characters_are_accepted() -> None:
    for identifier in ("x", "☃" * 200):
        assert parse_envelope(event(event_id=identifier), max_nesting=16).event_id == identifier


def test_brackets_within_strings_do_not_count_as_nesting() -> None:
    parse_envelope(event(data={"a": '[[[[[[[[\\"]]{{{{{{{{{'}), max_nesting=4)


@given(any_json)
def test_nesting_is_the_depth_of_the_parsed_value(value: object) -> None:
    def depth(node: object) -> int:
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
        return 0 if children is None else 1 + max(map(depth, children), default=0)

    assert nesting(json.dumps(value).encode()) == depth(value)


@given(st.binary(max_size=200) | any_json.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_accepted_or_refused_with_a_reason(raw: bytes) -> None:
    try:
        parse_envelope(raw, max_nesting=16)
    except InvalidEventError as error:
        assert error.code in {"invalid_json", "invalid_envelope", "invalid_occurred_at", "nesting_too_deep"}


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1997-01-01T00:00:00Z", datetime(1997, 1, 1, tzinfo=UTC)),
        ("1997-01-01t02:00:00.5+02:00", datetime(1997, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("1997-01-01 00:00:00.1234567z", datetime(1997, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_rfc_3339_instants_are_read_exactly(text: str, instant: datetime) -> None:
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "1997-01-01",
        "1997-01-01T00:00:00",
        "1997-01-01T00:00Z",
        "19970101T000000Z",
        "1997-W01-1T00:00:00Z",
        "1997-02-29T00:00:00Z",
        "1997-01-01T24:00:00Z",
        "1997-01-01T00:00:61Z",
        "1997-01-01T00:00:00+24:00",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "١٩٩٧-01-01T00:00:00Z",
        "1997-01-01T00:00:00Z\n",
    ],
)
def test_anything_else_is_no_instant(text: str) -> None:
    with pytest.raises(InvalidEventError, match="occurred_at") as caught:
        parse_instant(text)
    assert caught.value.code == "invalid_occurred_at"


def test_made_up_ids_are_uuids_of_version_7_in_order_of_time() -> None:
    ids = [UUID(new_event_id()) for _ in range(100)]

    assert {each.version for each in ids} == {7}
    assert len(set(ids)) == 100
    assert [each.int >> 80 for each in ids] == sorted(each.int >> 80 for each in ids)


@given(st.integers(0, 2**31 - 1), st.text(min_size=1, max_size=200), st.integers(0, 255))
def test_a_signal_id_leads_back_to_its_event(tenant_id: int, event_id: str, number: int) -> None:
    key = event_key(tenant_id, event_id)

    assert key.version == 8
    assert event_key_of(signal_id(key, number)) == key


def test_keys_differ_by_tenant_and_by_event_id() -> None:
    keys = {event_key(tenant, event_id) for tenant in range(50) for event_id in ("a", "b", "0a", "a0")}

    assert len(keys) == 200
    assert event_key(1, "a") == event_key(1, "a")


def test_a_257th_signal_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="256"):
        signal_id(event_key(1, "a"), 256)
