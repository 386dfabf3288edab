"""Which schemas a tenant may have, and that what is taken costs a worker little."""

import json
import threading
from typing import Any

import pytest

from common.event_types.errors import InvalidSchemaError
from common.event_types.limits import (
    DEEPEST,
    LONGEST_PATTERN,
    MOST_BYTES,
    MOST_CHECKS,
    MOST_PATTERNS,
    check_schema,
    compile_schema,
)
from worker.domains import DOMAINS

Schema = dict[str, Any]


def refusal(schema: Schema) -> InvalidSchemaError:
    with pytest.raises(InvalidSchemaError) as caught:
        check_schema(schema)
    return caught.value


def nested(levels: int) -> Schema:
    schema: Schema = {}
    for _ in range(levels // 2):
        schema = {"properties": {"a": schema}}
    return schema


def chained(length: int) -> Schema:
    """References to references, `length` of them."""
    links = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**links, f"d{length}": {"type": "object"}}}


def doubling(times: int) -> Schema:
    """Asks for twice the work with each definition; a few hundred bytes for more than a computer has time for."""
    return {
        "$ref": "#/$defs/d0",
        "$defs": {
            **{
                f"d{number}": {"allOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 2}
                | {"minProperties": number, "properties": {f"p{number}": {}}}
                for number in range(times)
            },
            f"d{times}": {"type": "object"},
        },
    }


def named(count: int, schema: Schema) -> Schema:
    return {"properties": {f"p{number}": dict(schema) for number in range(count)}}


@pytest.mark.parametrize(
    "event_type",
    [event_type for domain in DOMAINS for event_type in domain.event_types],
    ids=lambda event_type: event_type.name,
)
def test_the_platforms_own_types_are_within_the_limits(event_type: Any) -> None:
    check_schema(event_type.schema)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        nested(DEEPEST - 2),
        named(MOST_PATTERNS, {"pattern": "a" * LONGEST_PATTERN}),
        {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
        {"properties": {"$ref": {"type": "string"}, "pattern": {"const": {"$ref": "https://example.com"}}}},
        {"items": {"enum": list(range(MOST_CHECKS * 8))}},
        {"properties": {"a/b~c": {"type": "string"}, "copy": {"$ref": "#/properties/a~1b~0c"}}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema#", "$id": "https://example.com/visit"},
        chained(60),
        doubling(7),
    ],
)
def test_what_is_within_the_limits_is_taken(schema: Schema) -> None:
    check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"title": "x" * MOST_BYTES}, "at most 65536 bytes"),
        (nested(DEEPEST + 2), "at most 32 deep"),
        (named(MOST_PATTERNS + 1, {"pattern": "a"}), "at most 32 patterns"),
        ({"patternProperties": {f"^{n}": {} for n in range(MOST_PATTERNS + 1)}}, "at most 32 patterns"),
        ({"pattern": "a" * (LONGEST_PATTERN + 1)}, "at most 512 characters"),
        ({"$ref": "https://example.com/schema.json"}, "stands alone"),
        ({"properties": {"a": {"$ref": "other.json#/a"}}}, "stands alone"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"$ref": "#money", "$defs": {"m": {"$anchor": "money"}}}, "no JSON Pointer"),
        ({"$ref": "#/required", "required": ["a"]}, "leads to no schema"),
        ({"$ref": "#/examples/0", "examples": [{"allOf": 5}]}, "not a JSON Schema"),
        ({"properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#"}}}, "not supported"),
        ({"$ref": "#"}, "without end"),
        ({"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}, "without end"),
        (chained(70), "in turn"),
        (chained(1500), "in turn"),
        (doubling(30), "more than 1000 subschemas"),
        ({"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}}, "more than 1000 subschemas"),
        ({"items": {"enum": list(range(MOST_CHECKS * 10))}}, "more than 1000 subschemas"),
        ({"properties": {"a": {"$id": "https://example.com/a"}}}, "not supported"),
        ({"properties": {"a": {"$dynamicRef": "#"}}}, "not supported"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "the draft is"),
        ({"$schema": 7}, "the draft is"),
    ],
)
def test_what_is_beyond_the_limits_is_refused_with_the_reason(schema: Schema, reason: str) -> None:
    assert reason in refusal(schema).detail


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "strnig"}, "/type"),
        ({"properties": {"a/b": {"minimum": "1"}}}, "/properties/a~1b/minimum"),
        ({"properties": {"a": {"pattern": "(?=a)b"}}}, "/properties/a/pattern"),
        ({"properties": {"a": {"pattern": r"(a)\1"}}}, "/properties/a/pattern"),
        ({"properties": {"a": {"pattern": "(a{1000}){1000}"}}}, "/properties/a/pattern"),
        ({"items": {"pattern": "("}}, "/items/pattern"),
    ],
)
def test_what_is_no_schema_is_refused_with_the_place(schema: Schema, path: str) -> None:
    assert refusal(schema).path == path


def test_a_pattern_takes_time_in_proportion_to_the_text() -> None:
    """It would take a backtracking engine longer than the sun will shine."""
    validator = compile_schema({"pattern": "^(a+)+$"})

    assert not validator.is_valid("a" * 200_000 + "b")


def test_the_longest_chain_that_is_taken_fits_a_threads_stack() -> None:
    """A worker prepares events in a thread: one that overflowed its stack would be gone."""
    schema = chained(60)
    schema["$defs"]["d60"] = {"properties": {"a": {"$ref": "#"}}}
    check_schema(schema)
    validator = compile_schema(schema)
    data = json.loads('{"a":' * 63 + "{}" + "}" * 63)
    found: list[bool] = []

    thread = threading.Thread(target=lambda: found.append(validator.is_valid(data)))
    thread.start()
    thread.join()

    assert found == [True]
