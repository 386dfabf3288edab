"""Under which keys of the data texts are held against a pattern or a format: all other texts cost nothing."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from common.event_types.application import Parts
from common.event_types.documents import Schema

TextKeys: TypeAlias = frozenset[str] | None
"""The keys nearest above such texts, through arrays of any depth; None if it may be any key, or a key itself."""

_MOST_LOOKS = 20_000
_OF_ELEMENTS = ("items", "contains", "unevaluatedItems")


def find_text_keys(root: Mapping[str, Any], parts: Parts) -> TextKeys:
    """The keys under which `root`, of which `parts` are all, looks at texts; the data are an object."""
    found: set[str] = set()
    # The data themselves are no text; their key is of no account.
    waiting: list[tuple[int, str | None]] = [(id(root), "")]
    seen = set(waiting)
    while waiting:
        key, name = waiting.pop()
        if "pattern" in parts[key].schema or "format" in parts[key].schema:
            if name is None:
                return None
            found.add(name)
        for schema, its_name in _applied(parts, key, name):
            step = (id(schema), its_name)
            if not isinstance(schema, bool) and step not in seen:
                seen.add(step)
                waiting.append(step)
        if len(seen) > _MOST_LOOKS:
            return None
    return frozenset(found)


def _applied(parts: Parts, key: int, name: str | None) -> Iterator[tuple[Schema, str | None]]:
    schema, applied = parts[key]
    for each in applied.in_place:
        yield each, name
    for keyword in _OF_ELEMENTS:
        if keyword in schema:
            yield schema[keyword], name
    for each in schema.get("prefixItems", ()):
        yield each, name
    yield from ((each, its_name) for its_name, each in schema.get("properties", {}).items())
    for keyword in ("additionalProperties", "unevaluatedProperties", "propertyNames"):
        if keyword in schema:
            yield schema[keyword], None
    for each in schema.get("patternProperties", {}).values():
        yield each, None
