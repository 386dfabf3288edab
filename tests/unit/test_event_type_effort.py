"""What it may take to hold an event against schemas, and that whatever takes more is refused before it is tried."""

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from common.errors import InvalidEventError
from common.event_types.compatibility import find_incompatibilities
from common.event_types.errors import InvalidSchemaError
from common.event_types.limits import check_schema
from common.queue.streams import Record
from worker.domains import DOMAINS
from worker.validation.events import EventTypes, TenantType, ValidEvent, validate

Schema = dict[str, Any]

EVENT_BYTES = 256 * 1024


def letters(count: int) -> str:
    """A text that leads a pattern into all of its states."""
    return "".join(random.Random(1).choices("ab", k=count))


def repeated(times: int, schema: Schema) -> Schema:
    return {
        "properties": {"x": {"anyOf": [{"$ref": "#/$defs/one"}] * times}},
        "$defs": {"one": schema},
    }


def unevaluated(levels: int) -> Schema:
    """Takes some three times as long with each level, whatever the data."""
    schema: Schema = {"unevaluatedProperties": {"type": "integer"}}
    for _ in range(levels):
        schema = {"anyOf": [schema], "unevaluatedProperties": {"type": "integer"}}
    return schema


PATTERN = {"pattern": "(?:a[ab]{350}|b[ab]{350})c"}
"""Just small enough to be taken."""

ITEM: Schema = {
    "type": "object",
    "properties": {
        **{f"p{number}": {"type": "string", "maxLength": 200} for number in range(12)},
        "sku": {"pattern": "^[A-Z]{3}-[0-9]{6}$"},
        "mail": {"pattern": r"^\S+@\S+$"},
        "name": {"pattern": r"^\p{L}+$"},
        "when": {"format": "date-time"},
        "note": {"type": "string"},
        "country": {"enum": [f"C{number}" for number in range(250)]},
        "rating": {"type": "integer", "minimum": 1, "maximum": 5},
        "price": {"type": "number", "minimum": 0, "multipleOf": 0.01},
    },
    "patternProperties": {"^x-": {"type": "string"}},
    "required": ["p0"],
}
ORDER: Schema = ITEM | {
    "properties": {
        **ITEM["properties"],
        "items": {"items": {"$ref": "#/$defs/item"}},
        "scores": {"items": {}},
    },
    "$defs": {"item": ITEM},
}
ONE = {
    **{f"p{number}": "some text" for number in range(12)},
    "sku": "ABC-123456",
    "mail": "ada@example.com",
    "name": "Ada",
    "when": "2026-11-21T00:00:00Z",
    "note": "n" * 40,
    "country": "C17",
    "rating": 4,
    "price": 12,
    "x-colour": "red",
}  # fmt: skip


def known(*schemas: Schema) -> EventTypes:
    types = EventTypes(DOMAINS)
    versions = enumerate(schemas, 1)
    types.replace_tenant_types(
        [TenantType(1, "visit", version, each, "intent", 0.7) for version, each in versions]
    )
    return types


def check(types: EventTypes, data: dict[str, Any]) -> ValidEvent:
    raw = json.dumps({"event_type": "visit", "customer_id": "c1", "data": data}, separators=(",", ":"))
    record = Record("e1", datetime(2026, 11, 21, tzinfo=UTC), raw.encode())
    return validate(1, record, types, max_nesting=16)


def refusal(types: EventTypes, data: dict[str, Any]) -> InvalidEventError:
    with pytest.raises(InvalidEventError) as caught:
        check(types, data)
    return caught.value


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"items": [ONE] * 500},
        {"note": "lorem ipsum " * (EVENT_BYTES // 12 - 100)},
        {"note": "жш" * (EVENT_BYTES // 4 - 500)},
        {"scores": [1] * (EVENT_BYTES // 2 - 500)},
        {"scores": [12.25] * (EVENT_BYTES // 6 - 500)},
        {f"x-{number}": "red" for number in range(EVENT_BYTES // 20)},
    ],
    ids=["small", "items", "text", "text of two bytes a character", "integers", "decimals", "names"],
)
def test_an_ordinary_schema_takes_events_of_any_size(more: dict[str, Any]) -> None:
    check_schema(ORDER)

    assert check(known(ORDER), ONE | more).event.data["p0"] == "some text"


def test_an_ordinary_event_may_be_held_against_all_versions_of_its_type() -> None:
    newer = [ORDER | {"title": f"{number}", "required": ["new"]} for number in range(19)]

    assert check(known(ORDER, *newer), ONE | {"items": [ONE] * 10})


LABORIOUS = [
    (repeated(7, PATTERN), {"x": letters(250_000)}),
    (repeated(7, PATTERN), {"x": letters(2_000)}),
    (repeated(1, PATTERN), {"x": letters(250_000)}),
    (repeated(1, {"patternProperties": {PATTERN["pattern"]: {}}}), {"x": {letters(20_000): 1}}),
    (repeated(1, {"items": {"allOf": [{"multipleOf": 0.37}] * 980}}), {"x": [1] * 1_000}),
    (repeated(1, {"items": {"enum": list(range(8_000))}}), {"x": [8_000.5] * 100}),
    (repeated(1, {"items": {"anyOf": [{"const": 0.5}] * 900}}), {"x": [1e-300] * 100}),
    (repeated(400, {"uniqueItems": True}), {"x": [[number] for number in range(1_000)]}),
    (unevaluated(4), {"x": {}, **{f"p{number}": number for number in range(1_000)}}),
]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("schema", "data"), LABORIOUS)
def test_an_event_that_takes_too_long_to_check_is_refused_and_a_smaller_one_is_not(
    schema: Schema, data: dict[str, Any]
) -> None:
    check_schema(schema)
    types = known(schema)

    error = refusal(types, data)

    assert (error.code, error.path) == ("too_laborious", "/data")
    assert "smaller events" in error.detail
    assert check(types, {})


@pytest.mark.timeout(30)
def test_all_versions_that_an_event_is_held_against_count_together() -> None:
    schemas = [repeated(5, {"pattern": "a[ab]{200}c"}) | {"required": [f"r{number}"]} for number in range(20)]
    data = {"x": letters(1_000)}

    assert refusal(known(schemas[0]), data).code == "schema_violation"
    assert refusal(known(*schemas), data).code == "too_laborious"


@pytest.mark.timeout(30)
def test_a_schema_that_was_taken_before_there_was_a_bound_holds_up_nobody() -> None:
    assert refusal(known(unevaluated(28)), {"x": 1}).code == "too_laborious"
    assert refusal(known({"properties": {"x": {"$dynamicRef": "#"}}}), {}).code == "unknown_event_type"


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (repeated(480, PATTERN), "too large patterns"),
        (repeated(32, {"patternProperties": {PATTERN["pattern"]: {}}}), "too large patterns"),
        (unevaluated(14), "unevaluatedProperties within each other"),
        (repeated(150, {"enum": [[number] for number in range(40)]}), "too much in lists"),
        ({"pattern": "(?:a[ab]{500}|b[ab]{700})c"}, "at most 64 KiB"),
        ({"patternProperties": {"^.{1,90}$": {}}}, "maxLength"),
    ],
)
def test_a_schema_that_hardly_any_event_could_be_held_against_is_refused(schema: Schema, reason: str) -> None:
    with pytest.raises(InvalidSchemaError) as caught:
        check_schema(schema)

    assert reason in caught.value.detail


def test_a_schema_of_trees_whose_rest_is_unevaluated_is_taken() -> None:
    tree = {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}, "unevaluatedProperties": False}
    check_schema(tree)

    assert check(known(tree), {"left": {"right": {"left": {}}}})


@pytest.mark.timeout(30)
@pytest.mark.parametrize("length", [500, 25_000])
def test_patterns_that_take_long_to_match_names_are_too_much_to_compare(length: int) -> None:
    names = {letters(length + number): {} for number in range(40)}
    patterns = {f"(?:a[ab]{{300}}|b[ab]{{300}})c{{1,{number}}}": True for number in range(1, 12)}

    (found,) = find_incompatibilities({"properties": names}, {"patternProperties": patterns})

    assert "too intricate" in found.detail
