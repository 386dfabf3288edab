"""What a schema may be, so that no event costs a worker too much: tenants write schemas, workers run them."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import jsonschema_rs

from common.event_types.documents import Applied, Schema, applied, pointer, resolve
from common.event_types.errors import InvalidSchemaError

DRAFT = "https://json-schema.org/draft/2020-12/schema"
MOST_BYTES = 64 * 1024
"""Of the schema as JSON."""

DEEPEST = 32
"""Most objects and arrays within each other."""

MOST_PATTERNS = 32
"""Of ``pattern`` and ``patternProperties`` together."""

LONGEST_PATTERN = 512
"""In characters."""

MOST_CHECKS = 1000
"""So many subschemas may be applied to one and the same value. Without a bound a few hundred bytes of references to
references ask for more than a computer has time for."""

_LONGEST_CHAIN = 64  # of subschemas that apply one another to the same value: each takes a part of the stack
_DEEPEST_DATA = 32
_ENUM_VALUES_OF_A_CHECK = 10
_QUOTED = 500  # characters
# One fixed meaning of references, by pointers within the schema, is what the bounds rest on.
_UNSUPPORTED = (
    "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary", "dependencies",
)  # fmt: skip
_ONLY_AT_THE_ROOT = ("$id", "$schema")
_PATTERN_OPTIONS = jsonschema_rs.RegexOptions(size_limit=128 * 1024)


class _Part(NamedTuple):
    schema: Mapping[str, Any]
    applied: Applied


def compile_schema(schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """A validator of `schema` that asserts formats, fetches nothing, and runs patterns in linear time.

    Raises:
        InvalidSchemaError: it is no JSON Schema (2020-12), refers to other documents, or has a pattern that cannot be
            run like that: one with look-around or back-references, or one of more than 128 KiB when compiled.
    """
    try:
        return jsonschema_rs.Draft202012Validator(
            dict(schema),
            validate_formats=True,
            retriever=_refuse_reference,
            pattern_options=_PATTERN_OPTIONS,
        )
    except jsonschema_rs.ValidationError as error:
        raise _not_a_schema(error) from None
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise InvalidSchemaError(f"not a JSON Schema (2020-12): {str(error).splitlines()[0]}") from None


def check_schema(schema: Mapping[str, Any]) -> None:
    """Make sure that a tenant may have `schema`, a parsed JSON object, for an event type.

    Raises:
        InvalidSchemaError: `compile_schema` refuses it, or it is larger, deeper or more laborious than the limits of
            this module allow, or uses ``$id`` below its root, ``$dynamicRef`` or another draft.
    """
    _check_depth(schema)
    if len(json.dumps(schema, ensure_ascii=False).encode()) > MOST_BYTES:
        raise InvalidSchemaError(f"takes at most {MOST_BYTES} bytes")
    if schema.get("$schema", DRAFT) not in (DRAFT, f"{DRAFT}#"):
        raise InvalidSchemaError(f"the draft is {DRAFT}", "/$schema")
    _check_keywords(schema)
    parts = _reachable(schema)
    _check_patterns(parts.values())
    _check_work(schema, parts)
    compile_schema(schema)


def collected_errors(schema: Mapping[str, Any]) -> float:
    """How many errors `validate` may collect for one value before it raises the first, if `compile_schema` takes it.

    None but under ``anyOf`` and ``oneOf``, which keep those of all their alternatives; and nobody knows how many for a
    schema that is beyond the limits.
    """
    try:
        parts = _reachable(schema)
        if any("anyOf" in part.schema or "oneOf" in part.schema for part in parts.values()):
            return _check_work(schema, parts)
    except InvalidSchemaError:  # it was taken before there were such limits
        return math.inf
    return 0


def _check_depth(schema: Mapping[str, Any]) -> None:
    level: list[Any] = [schema]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _members(each) if isinstance(inner, dict | list)]
    if level:
        raise InvalidSchemaError(f"nests objects and arrays at most {DEEPEST} deep")


def _members(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _check_keywords(schema: Mapping[str, Any]) -> None:
    try:
        jsonschema_rs.meta.validate(dict(schema))
    except jsonschema_rs.ValidationError as error:
        raise _not_a_schema(error) from None


def _reachable(root: Mapping[str, Any]) -> dict[int, _Part]:
    """All subschemas that are ever applied, by their `id`; those that are just true or false cost nothing."""
    found: dict[int, _Part] = {}
    referred: set[int] = set()
    waiting: list[Schema] = [root]
    while waiting:
        schema = waiting.pop()
        if isinstance(schema, bool) or id(schema) in found:
            continue
        for keyword in (*_UNSUPPORTED, *(_ONLY_AT_THE_ROOT if schema is not root else ())):
            if keyword in schema:
                raise InvalidSchemaError(f"{keyword} is not supported here")
        if id(schema) in referred:
            # It may lie where the draft expects no schema, among examples for instance.
            _check_keywords(schema)
        inner = applied(schema, root)
        found[id(schema)] = _Part(schema, inner)
        waiting += inner
        if "$ref" in schema:
            referred.add(id(resolve(schema["$ref"], root)))
    return found


def count_patterns(schema: Mapping[str, Any]) -> int:
    """How many patterns `schema` has, of those that `MOST_PATTERNS` bounds."""
    try:
        return len(_all_patterns(_reachable(schema).values()))
    except InvalidSchemaError:  # it was taken before there were such limits
        return MOST_PATTERNS


def _all_patterns(parts: Iterable[_Part]) -> list[str]:
    return [pattern for part in parts for pattern in _patterns(part.schema)]


def _check_patterns(parts: Iterable[_Part]) -> None:
    patterns = _all_patterns(parts)
    if len(patterns) > MOST_PATTERNS:
        raise InvalidSchemaError(f"has at most {MOST_PATTERNS} patterns")
    for pattern in patterns:
        if len(pattern) > LONGEST_PATTERN:
            raise InvalidSchemaError(f"a pattern has at most {LONGEST_PATTERN} characters: {pattern[:40]}…")


def _patterns(schema: Mapping[str, Any]) -> Iterator[str]:
    if "pattern" in schema:
        yield schema["pattern"]
    yield from schema.get("patternProperties", ())


def _check_work(root: Schema, parts: Mapping[int, _Part]) -> int:
    """Bound the checks of one value: of the data itself, then of a member, then of a member's member, and so on.

    Returns how many they are at most.
    """
    most = 0
    order = _bottom_up(parts)
    checks = {
        key: 1 + len(part.schema.get("enum", ())) // _ENUM_VALUES_OF_A_CHECK for key, part in parts.items()
    }
    for _ in range(_DEEPEST_DATA):
        for key in order:
            checks[key] += sum(checks.get(id(each), 0) for each in parts[key].applied.in_place)
        if checks[id(root)] > MOST_CHECKS:
            raise InvalidSchemaError(f"applies more than {MOST_CHECKS} subschemas to one value")
        most = max(most, checks[id(root)])
        checks = {key: _checks_of_a_member(part.applied, checks) for key, part in parts.items()}
        if not any(checks.values()):
            break
    return most


def _checks_of_a_member(inner: Applied, checks: Mapping[int, int]) -> int:
    most = max((checks.get(id(each), 0) for each in inner.alternatives), default=0)
    return most + sum(checks.get(id(each), 0) for each in inner.additions)


def _bottom_up(parts: Mapping[int, _Part]) -> list[int]:
    """The keys of `parts`, each after those that it applies to the same value."""
    heights: dict[int, int] = {}
    entered: set[int] = set()

    def visit(key: int, above: int) -> int:
        if key in heights:
            return heights[key]
        if key in entered:
            raise InvalidSchemaError("refers to itself for the same value, without end")
        entered.add(key)
        below = (
            [visit(id(each), above + 1) for each in parts[key].applied.in_place if not isinstance(each, bool)]
            if above < _LONGEST_CHAIN
            else [_LONGEST_CHAIN]
        )
        height = 1 + max(below, default=0)
        if height > _LONGEST_CHAIN:
            raise InvalidSchemaError(f"applies more than {_LONGEST_CHAIN} subschemas in turn to one value")
        heights[key] = height
        return height

    for key in parts:
        visit(key, 0)
    return list(heights)


def _not_a_schema(error: jsonschema_rs.ValidationError) -> InvalidSchemaError:
    detail = f"not a JSON Schema (2020-12): {error.message[:_QUOTED]}"
    if error.message.endswith('is not a "regex"'):
        detail += "; a pattern has no look-around, no back-reference, and takes at most 128 KiB when compiled"
    return InvalidSchemaError(detail, pointer(error.instance_path))


def _refuse_reference(uri: str) -> NoReturn:
    # A worker validates without a network, and no tenant sends it to addresses.
    raise ValueError(f"a schema stands alone, but this one refers to {uri}")
