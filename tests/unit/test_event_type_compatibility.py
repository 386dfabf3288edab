"""When a new version of a schema is a break, and why."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.event_types.compatibility import find_incompatibilities
from common.event_types.errors import InvalidSchemaError
from common.event_types.limits import check_schema, compile_schema

Schema = dict[str, Any]

ORDER: Schema = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "minimum": 0},
        "currency": {"enum": ["EUR", "USD"]},
        "note": {"type": "string", "maxLength": 100},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "maxItems": 10},
    },
    "required": ["amount"],
    "$defs": {"item": {"type": "object", "properties": {"name": {"type": "string"}}}},
}


def order(**properties: Any) -> Schema:
    return ORDER | {"properties": ORDER["properties"] | properties}


def without(name: str, **changes: Any) -> Schema:
    kept = {key: value for key, value in ORDER["properties"].items() if key != name}
    return ORDER | {"properties": kept} | changes


def item(schema: Schema) -> Schema:
    return ORDER | {"$defs": {"item": schema}}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ORDER, ORDER),
        (ORDER, order(colour={"type": "string", "enum": ["red"]})),
        (ORDER, ORDER | {"required": []}),
        (ORDER, ORDER | {"title": "An order", "description": "Somebody ordered something."}),
        (ORDER, order(amount={"type": ["number", "string"], "minimum": -1, "maxLength": 5})),
        (ORDER, order(currency={"enum": ["EUR", "GBP", "USD"], "type": "string"})),
        (ORDER, order(note={"type": "string", "maxLength": 200})),
        (ORDER, order(note={"anyOf": [{"type": "string", "maxLength": 100}, {"type": "null"}]})),
        (ORDER, without("note")),
        (ORDER, item({"properties": {"name": {"type": ["string", "null"]}}})),
        (ORDER, {}),
        ({"exclusiveMinimum": 1}, {"minimum": 1}),
        ({"multipleOf": 0.2}, {"multipleOf": 0.1}),
        ({"type": "integer"}, {"type": "number"}),
        ({"const": 3}, {"type": "integer", "enum": [1, 2, 3]}),
        ({"allOf": [{"minLength": 5}, {"pattern": "a"}]}, {"pattern": "a", "minLength": 3}),
        ({"pattern": "a", "minLength": 3}, {"allOf": [{"minLength": 3}, {"pattern": "a"}]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "null"}, {"type": "string"}, {}]}),
        ({"prefixItems": [{"type": "integer"}], "items": {"type": "null"}}, {"items": {"type": ["number", "null"]}}),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"properties": {"a": {}, "b": {}}}),
        ({"additionalProperties": {"type": "integer"}}, {"properties": {"a": {"type": "number"}}}),
        ({"patternProperties": {"^x": {"type": "integer"}}}, {"properties": {"xa": {"type": "number"}}}),
        ({"oneOf": [{"description": "a", "type": "null"}]}, {"oneOf": [{"type": "null"}]}),
        ({"properties": {"a": {"$ref": "#"}}, "type": "object"}, {"properties": {"a": {"$ref": "#"}}}),
        ({"properties": {"a": False}}, {"properties": {"a": {"type": "string"}}}),
        ({"dependentRequired": {"a": ["b", "c"]}}, {"dependentRequired": {"a": ["b"]}}),
    ],
)  # fmt: skip
def test_what_accepts_all_that_was_accepted_is_no_break(old: Schema, new: Schema) -> None:
    assert find_incompatibilities(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        (ORDER, ORDER | {"required": ["amount", "note"]}, ["/required"]),
        (ORDER, order(amount={"type": "integer"}), ["/properties/amount/type"]),
        (ORDER, order(amount={"type": "number", "minimum": 1}), ["/properties/amount/minimum"]),
        (ORDER, order(currency={"enum": ["EUR"]}), ["/properties/currency/enum"]),
        (ORDER, order(note={"type": "string", "maxLength": 50}), ["/properties/note/maxLength"]),
        (ORDER, order(note={"type": "string", "maxLength": 100, "format": "email"}), ["/properties/note/format"]),
        (ORDER, ORDER | {"additionalProperties": False}, ["/additionalProperties"]),
        (ORDER, without("note", additionalProperties={"type": "null"}), ["/additionalProperties/type"] * 2),
        (ORDER, item({"type": "string"}), ["/$defs/item/type"]),
        (ORDER, order(items={"items": {"$ref": "#/$defs/item"}, "maxItems": 5}), ["/properties/items/maxItems"]),
        (ORDER, order(note=False), ["/properties/note"]),
        ({}, {"type": "object"}, ["/type"]),
        ({}, {"enum": [1]}, ["/enum"]),
        ({"enum": [1, True]}, {"enum": [1]}, ["/enum"]),
        ({"pattern": "a"}, {"pattern": "b"}, ["/pattern"]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}]}, ["/anyOf"]),
        ({"oneOf": [{"type": "null"}]}, {"oneOf": [{"type": "null"}, {"type": "string"}]}, ["/oneOf"]),
        ({"contains": {"type": "null"}, "minContains": 0}, {"contains": {"type": "null"}}, ["/contains"]),
        ({"if": {"type": "null"}, "then": {}}, {"if": {"type": "null"}, "then": False}, ["/if"]),
        ({"multipleOf": 0.1}, {"multipleOf": 0.2}, ["/multipleOf"]),
        ({"items": {}}, {"items": {}, "uniqueItems": True}, ["/uniqueItems"]),
        ({"patternProperties": {"x": {}}}, {"patternProperties": {"y": False}}, ["/patternProperties/y"]),
        ({"additionalProperties": {"type": "string"}}, {"properties": {"a": {"type": "null"}}}, ["/properties/a/type"]),
        (
            {"properties": {"a": {}}, "unevaluatedProperties": False},
            {"unevaluatedProperties": False},
            ["/unevaluatedProperties"],
        ),
        ({"dependentRequired": {"a": ["b"]}}, {"dependentRequired": {"a": ["b", "c"]}}, ["/dependentRequired"]),
        ({"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}, "required": ["b"]}, ["/required"]),
    ],
)  # fmt: skip
def test_a_break_is_told_with_its_place(old: Schema, new: Schema, paths: list[str]) -> None:
    found = find_incompatibilities(old, new)

    assert [each.path for each in found] == paths
    assert all(each.detail for each in found)


MANY = range(100)
NAMED: Schema = {"properties": {f"p{number}": {} for number in MANY}}
PARTED: Schema = {"allOf": [{} for _ in MANY]}


@pytest.mark.parametrize(
    ("old", "new", "effort"),
    [
        (ORDER, ORDER, 30),
        # Each name is looked for in each part.
        (NAMED | PARTED, {"additionalProperties": {}}, 5_000),
        ({"dependentRequired": {}, **PARTED}, {"dependentRequired": {f"p{n}": [] for n in MANY}}, 5_000),
        # Long texts are compared, or matched, again and again.
        (
            {**NAMED, "additionalProperties": {"enum": ["x" * 5_000]}},
            {"patternProperties": {f"^{number}": {"enum": ["x" * 5_000]} for number in MANY}},
            20_000,
        ),
        ({"properties": {"x" * 5_000: {}}}, {"patternProperties": {f"^{n}": {} for n in MANY}}, 20_000),
    ],
)
def test_schemas_that_take_too_long_to_compare_are_a_break(
    old: Schema, new: Schema, effort: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.event_types.compatibility._MOST_EFFORT", effort)

    (found,) = find_incompatibilities(old, new)

    assert "too intricate" in found.detail


def test_a_schema_that_is_as_large_as_it_may_be_can_be_compared() -> None:
    properties = {f"p{number}": {"type": "string", "maxLength": 100} for number in range(1_300)}
    schema: Schema = {"properties": properties, "additionalProperties": False}
    check_schema(schema)

    assert find_incompatibilities(schema, copy.deepcopy(schema)) == []


SCALARS: list[Any] = [None, True, 0, 1, 2, 1.5, "", "a", "ab"]
FLAT: list[Any] = [
    *SCALARS,
    *({name: each} for name in ("a", "b", "xa") for each in SCALARS),
    *([each] for each in SCALARS),
    *([one, other] for one in SCALARS for other in (1, "a")),
    *({"a": one, "b": other} for one in SCALARS for other in (1, "a")),
    *({"a": one, "xa": other} for one in SCALARS for other in (1, "a")),
    {},
    [],
]
DATA = [*FLAT, *({"a": each} for each in FLAT[9:]), *([each] for each in FLAT[9:])]

ASSERTIONS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["string", "integer", "number", "object", "array", ["null", "string"]]),
    "minimum": st.sampled_from([0, 1, 2]),
    "exclusiveMaximum": st.sampled_from([1, 2]),
    "maxLength": st.sampled_from([0, 1, 2]),
    "pattern": st.sampled_from(["^a", "b"]),
    "enum": st.lists(st.sampled_from(SCALARS), min_size=1, max_size=4),
    "minItems": st.sampled_from([0, 1, 2]),
    "uniqueItems": st.booleans(),
    "required": st.sampled_from([["a"], ["b"], ["a", "b"]]),
    "maxProperties": st.sampled_from([0, 1]),
    "dependentRequired": st.sampled_from([{"a": ["b"]}, {"a": ["xa"]}]),
}


def applicators(inner: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    lists = st.lists(inner, min_size=1, max_size=2)
    return {
        # All names are declared: one that is not counts as unused, and may become a break when it is declared.
        "properties": st.fixed_dictionaries({"a": inner, "b": inner, "xa": inner}),
        "patternProperties": st.fixed_dictionaries({"^x": inner}, optional={"a": inner}),
        "additionalProperties": inner,
        "items": inner,
        "prefixItems": lists,
        "allOf": lists,
        "anyOf": lists,
        "oneOf": lists,
        "not": inner,
        "contains": inner,
        "minContains": st.sampled_from([0, 2]),
        "propertyNames": inner,
        "unevaluatedProperties": inner,
        "$ref": st.just("#/$defs/one"),
    }


@st.composite
def schemas(draw: Any, keywords: dict[str, st.SearchStrategy[Any]], most: int = 2) -> Schema:
    """Few keywords: with many of them nothing fits."""
    chosen = draw(st.lists(st.sampled_from(sorted(keywords)), unique=True, min_size=1, max_size=most))
    return {keyword: draw(keywords[keyword]) for keyword in chosen}


LEAVES = st.booleans() | schemas(ASSERTIONS)
INNER = LEAVES | schemas(ASSERTIONS | applicators(LEAVES))
KEYWORDS = ASSERTIONS | applicators(INNER)


def parts(schema: Schema) -> list[Schema]:
    """`schema`, and what is in it, that a change may be made to."""
    found = [schema]
    for value in schema.values():
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        for each in (value, *inner):
            found += parts(each) if isinstance(each, dict) else []
    return found


@st.composite
def two_versions(draw: Any) -> tuple[Schema, Schema]:
    """Two schemas that differ in a keyword or two, anywhere in them."""
    old = {**draw(schemas(KEYWORDS, most=3)), "$defs": {"one": draw(INNER)}}
    new = copy.deepcopy(old)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(parts(new)))
        keyword = draw(st.sampled_from(sorted({*place, *ASSERTIONS, "anyOf", "not", "additionalProperties"})))
        if keyword in place and draw(st.booleans()):
            del place[keyword]
        elif keyword in KEYWORDS:
            # What a strategy gives again and again must not be changed by the next round.
            place[keyword] = copy.deepcopy(draw((ASSERTIONS | applicators(LEAVES))[keyword]))
    return old, new


def is_taken(schema: Schema) -> bool:
    try:
        check_schema(schema)
    except InvalidSchemaError:
        return False
    return True


@given(two_versions())
def test_a_version_that_is_no_break_accepts_whatever_the_one_before_it_accepts(
    versions: tuple[Schema, Schema],
) -> None:
    if all(map(is_taken, versions)) and not find_incompatibilities(*versions):
        old, new = map(compile_schema, versions)
        assert [each for each in DATA if old.is_valid(each) and not new.is_valid(each)] == []
