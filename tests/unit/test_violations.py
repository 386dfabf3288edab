"""How refusals by a schema are told apart: by what the schema says, and never by what somebody sent."""

from typing import Any

import pytest

from common.event_types.limits import compile_schema
from worker.validation.violations import SchemaViolationError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["store"],
    "properties": {
        "store": {"type": "string"},
        "items": {"items": {"$ref": "#/$defs/item"}},
        "size": {"prefixItems": [{"type": "number"}, {"type": "string"}]},
        "scores": {"additionalProperties": {"type": "integer"}},
        "tags": {"patternProperties": {"^x-": {"maxLength": 3}}},
        "closed": {"properties": {"a": {}}, "additionalProperties": False},
        "empty": {"additionalProperties": False},
        "choice": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "both": {"allOf": [{"properties": {"a/b": {"minimum": 5}}}]},
        "pair": {"dependentRequired": {"a": ["b"]}},
        "never": False,
        "properties": {"properties": {"properties": {"type": "null"}}},
    },
    "$defs": {"item": {"properties": {"price": {"minimum": 0}}}},
}


def violation(data: dict[str, Any]) -> SchemaViolationError:
    return SchemaViolationError(next(compile_schema(SCHEMA).iter_errors(data)), 3)


@pytest.mark.parametrize(
    ("data", "place", "keyword"),
    [
        ({}, "/data/store", "required"),
        ({"store": 7}, "/data/store", "type"),
        ({"items": [{}, {"price": -1}]}, "/data/items/*/price", "minimum"),
        ({"size": [1, 2]}, "/data/size/1", "type"),
        ({"scores": {"ada@example.com": "x"}}, "/data/scores/*", "type"),
        ({"tags": {"x-ada": "long"}}, "/data/tags/*", "maxLength"),
        ({"closed": {"ada": 1}}, "/data/closed", "additionalProperties"),
        ({"empty": {"ada": 1}}, "/data/empty/*", "falseSchema"),
        ({"choice": "ada"}, "/data/choice", "anyOf"),
        ({"both": {"a/b": 1}}, "/data/both/a~1b", "minimum"),
        ({"pair": {"a": 1}}, "/data/pair/b", "required"),
        ({"never": 1}, "/data/never", "falseSchema"),
        ({"properties": {"properties": 1}}, "/data/properties/properties", "type"),
    ],
)
def test_a_violation_is_named_by_its_place_in_the_schema_and_its_keyword(
    data: dict[str, Any], place: str, keyword: str
) -> None:
    found = violation({"store": "north"} | data if data else data)

    assert (found.place, found.keyword, found.version) == (place, keyword, 3)
    assert "ada" not in found.place


def test_the_refusal_itself_names_the_very_place() -> None:
    found = violation({"store": "north", "items": [{}, {"price": -1}]})

    assert (found.code, found.path) == ("schema_violation", "/data/items/1/price")
    assert "-1" in found.detail


def test_a_place_is_never_too_long_to_be_counted() -> None:
    long = "ä" * 2_000
    schema = {"properties": {long: {"type": "null"}}}
    error = next(compile_schema(schema).iter_errors({long: 1}))

    assert len(SchemaViolationError(error, 1).place.encode()) < 1_300
