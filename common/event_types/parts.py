"""What a value fits, taken apart: schemas all of which hold, those that they refer to and their ``allOf`` included."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import jsonschema_rs
from jsonschema_rs.canonical.json import to_string

from common.event_types.documents import Schema, resolve
from common.event_types.effort import units_of
from common.event_types.limits import compile_schema

Spend: TypeAlias = Callable[[int], None]

_CHARACTERS_OF_AN_EFFORT = 10
_UNITS_OF_AN_EFFORT = 50  # of those that patterns take
_TYPE_NAMES = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


class Parts:
    """Schemas, none of them just true or false, that a value fits all of; `spend` is told the effort of each look."""

    def __init__(self, schemas: Iterable[Mapping[str, Any]], spend: Spend) -> None:
        self._schemas = list(schemas)
        self._spend = spend

    @classmethod
    def of(cls, schemas: Iterable[Schema], root: Schema, spend: Spend) -> "Parts | None":
        """What a value fits that fits all of `schemas`, which are parts of `root`; None if no value does."""
        found: dict[int, Mapping[str, Any]] = {}
        waiting = deque(schemas)
        while waiting:
            spend(1)
            schema = waiting.popleft()
            if schema is False:
                return None
            if schema is True or id(schema) in found:
                continue
            found[id(schema)] = schema
            waiting += schema.get("allOf", ())
            if "$ref" in schema:
                waiting.append(resolve(schema["$ref"], root))
        return cls(found.values(), spend)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._schemas)

    def values(self, keyword: str) -> list[Any]:
        """What `keyword` says, wherever it stands."""
        self._spend(len(self._schemas))
        return [schema[keyword] for schema in self._schemas if keyword in schema]

    @cached_property
    def types(self) -> frozenset[str]:
        """The types that a value may have; a ``number`` may always be an ``integer`` too."""
        types = frozenset(_TYPE_NAMES.values())
        for said in self.values("type"):
            types &= with_integers(said)
        for listed in (*self.values("enum"), *([each] for each in self.values("const"))):
            types &= with_integers([_TYPE_NAMES[type(each)] for each in listed])
        return types

    @cached_property
    def required(self) -> frozenset[str]:
        """The properties that a value has if it is an object."""
        return frozenset(name for said in self.values("required") for name in said)

    @cached_property
    def listed(self) -> list[set[str]]:
        """The values, in canonical form, of each ``enum`` that a value is in; a ``const`` is one of a single value."""
        lists = (*self.values("enum"), *([each] for each in self.values("const")))
        return [{canonical(each, self._spend) for each in said} for said in lists]

    @cached_property
    def names(self) -> list[str]:
        """The properties that are declared by name."""
        return list(dict.fromkeys(name for each in self.values("properties") for name in each))

    @cached_property
    def patterns(self) -> dict[str, list[Schema]]:
        """The schemas of properties that are declared by a pattern."""
        found: dict[str, list[Schema]] = {}
        for each in self.values("patternProperties"):
            for pattern, schema in each.items():
                found.setdefault(pattern, []).append(schema)
        return found

    @cached_property
    def further(self) -> list[Schema]:
        """The schemas of properties that nothing else declares; none if they may be anything."""
        return [each for each in self.values("additionalProperties") if each is not True]

    def member(self, name: str) -> list[Schema]:
        """The schemas that the property `name` fits; none if it is not declared and may be anything."""
        self._spend(len(self._schemas))
        found: list[Schema] = []
        for schema in self._schemas:
            governing = [schema["properties"][name]] if name in schema.get("properties", ()) else []
            governing += [
                each
                for pattern, each in schema.get("patternProperties", {}).items()
                if pattern_matches(pattern, name, self._spend)
            ]
            if not governing and schema.get("additionalProperties", True) is not True:
                governing = [schema["additionalProperties"]]
            found += governing
        return found

    def element(self, index: int) -> list[Schema]:
        """The schemas that the element at `index`, from 0 on, of an array fits."""
        self._spend(len(self._schemas))
        found: list[Schema] = []
        for schema in self._schemas:
            first = schema.get("prefixItems", ())
            if index < len(first):
                found.append(first[index])
            elif "items" in schema:
                found.append(schema["items"])
        return found


def with_integers(types: str | list[str]) -> frozenset[str]:
    """What a ``type`` keyword lists, with the integers that every ``number`` may be."""
    named = {types} if isinstance(types, str) else set(types)
    return frozenset(named | {"integer"} if "number" in named else named)


def canonical(value: Any, spend: Spend) -> str:
    """A text that is the same for equal JSON values, and for no others."""
    text = to_string(value)
    spend(1 + len(text) // _CHARACTERS_OF_AN_EFFORT)
    return text


def pattern_matches(pattern: str, name: str, spend: Spend) -> bool:
    """Whether a property of this name falls under a pattern of ``patternProperties``."""
    units = max(_UNITS_OF_AN_EFFORT // _CHARACTERS_OF_AN_EFFORT, units_of(pattern))
    spend(1 + len(name) * units // _UNITS_OF_AN_EFFORT)
    return _compiled(pattern).is_valid(name)


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> jsonschema_rs.Draft202012Validator:
    return compile_schema({"pattern": pattern})
