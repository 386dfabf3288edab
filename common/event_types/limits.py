"""What a schema may be, so that no event costs a worker too much: tenants write schemas, workers run them."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import jsonschema_rs

from common.event_types.application import Part, Parts, by_depth
from common.event_types.documents import Schema, applied, pointer, resolve
from common.event_types.effort import LARGEST_PATTERN, Amounts, Effort, compiled_kibibytes, effort_of
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

MOST_EFFORT = 200_000
"""Units of `common.event_types.effort` that any event may cost: twenty milliseconds at the worst."""

MOST_EFFORT_OF_A_BYTE = 40
"""Units more for each byte of its data: a second or two at the worst for 256 KiB."""

VERSIONS_WORTH = 4
"""All versions that an event is held against may cost so many times what one of them may."""

_LITTLE = Amounts(values=10, characters=100, name_characters=100)
_BYTES_OF_LITTLE = 300
_ENUM_VALUES_OF_A_CHECK = 10
_QUOTED = 500  # characters
# One fixed meaning of references, by pointers within the schema, is what the bounds rest on.
_UNSUPPORTED = frozenset(
    ("$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary", "dependencies")
)
_UNSUPPORTED_BELOW_THE_ROOT = _UNSUPPORTED | {"$id", "$schema"}
_PATTERN_OPTIONS = jsonschema_rs.RegexOptions(size_limit=128 * 1024)


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
    _check_effort(schema, parts)


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


def most_effort(size: int) -> int:
    """Units of `common.event_types.effort` that one version may cost, for data of that many bytes of JSON."""
    return MOST_EFFORT + MOST_EFFORT_OF_A_BYTE * size


def surely_checked_bytes(versions: Sequence[Effort]) -> float:
    """How large data may be that cost no more than they may, whatever they are; `versions` are those of their type."""
    each = [effort.of_a_byte for effort in versions]
    more = max(*each, sum(each) / VERSIONS_WORTH) - MOST_EFFORT_OF_A_BYTE
    return MOST_EFFORT / more if more > 0 else math.inf


def find_effort(schema: Mapping[str, Any]) -> Effort:
    """What holding data against `schema` costs, if `compile_schema` takes it.

    Raises:
        InvalidSchemaError: nobody can tell, as it was taken before there were such limits.
    """
    try:
        return effort_of(schema, _reachable(schema, trusted=True))
    except (AttributeError, TypeError):
        raise InvalidSchemaError("is no schema in a part that it refers to") from None


def _reachable(root: Mapping[str, Any], *, trusted: bool = False) -> dict[int, Part]:
    """All subschemas that are ever applied, by their `id`; those that are just true or false cost nothing.

    Of a `trusted` schema it is known that they are schemas: to make sure takes most of the time.
    """
    found: dict[int, Part] = {}
    referred: set[int] = set()
    waiting: list[Schema] = [root]
    while waiting:
        schema = waiting.pop()
        if isinstance(schema, bool) or id(schema) in found:
            continue
        unsupported = _UNSUPPORTED if schema is root else _UNSUPPORTED_BELOW_THE_ROOT
        if not unsupported.isdisjoint(schema):
            raise InvalidSchemaError(f"{min(unsupported & schema.keys())} is not supported here")
        if id(schema) in referred and not trusted:
            # It may lie where the draft expects no schema, among examples for instance.
            _check_keywords(schema)
        inner = applied(schema, root)
        found[id(schema)] = Part(schema, inner)
        waiting += inner
        if "$ref" in schema:
            referred.add(id(resolve(schema["$ref"], root)))
    return found


def count_patterns(schema: Mapping[str, Any]) -> int:
    """How many patterns `schema` has, of those that `MOST_PATTERNS` bounds; `check_schema` has accepted it."""
    try:
        return len(_all_patterns(_reachable(schema, trusted=True).values()))
    except (InvalidSchemaError, AttributeError, TypeError):  # it was taken before there were such limits
        return MOST_PATTERNS


def _all_patterns(parts: Iterable[Part]) -> list[str]:
    return [pattern for part in parts for pattern in _patterns(part.schema)]


def _check_patterns(parts: Iterable[Part]) -> None:
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


def _check_work(root: Mapping[str, Any], parts: Parts) -> int:
    """Bound the checks of one value: of the data itself, then of a member, then of a member's member, and so on.

    Returns how many they are at most.
    """
    own = {
        key: 1 + len(part.schema.get("enum", ())) // _ENUM_VALUES_OF_A_CHECK for key, part in parts.items()
    }
    most = 0
    for checks in by_depth(root, parts, own):
        if checks > MOST_CHECKS:
            raise InvalidSchemaError(f"applies more than {MOST_CHECKS} subschemas to one value")
        most = max(most, checks)
    return most


def _check_effort(root: Mapping[str, Any], parts: Parts) -> None:
    for pattern in _all_patterns(parts.values()):
        if compiled_kibibytes(pattern) > LARGEST_PATTERN:
            raise InvalidSchemaError(
                f"a pattern takes at most {LARGEST_PATTERN} KiB when compiled; maxLength is better than a repetition"
                f" such as {{1,200}}: {pattern[:40]}"
            )
    asked = effort_of(root, parts).most
    if Effort([asked]).of([_LITTLE]) > most_effort(_BYTES_OF_LITTLE):
        raise InvalidSchemaError(
            "asks for more work than an event may cost, even one of ten values and a text of 100 characters: too many"
            " or too large patterns for one text or name, too much in lists, or unevaluatedProperties within each other"
        )


def _not_a_schema(error: jsonschema_rs.ValidationError) -> InvalidSchemaError:
    detail = f"not a JSON Schema (2020-12): {error.message[:_QUOTED]}"
    if error.message.endswith('is not a "regex"'):
        detail += "; a pattern has no look-around, no back-reference, and takes at most 64 KiB when compiled"
    return InvalidSchemaError(detail, pointer(error.instance_path))


def _refuse_reference(uri: str) -> NoReturn:
    # A worker validates without a network, and no tenant sends it to addresses.
    raise ValueError(f"a schema stands alone, but this one refers to {uri}")
