"""What a value fits, taken apart: schemas all of which hold, those that they refer to and their ``allOf`` included."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any

import jsonschema_rs

from common.event_types.documents import Schema, resolve
from common.event_types.limits import compile_schema

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
    """Schemas, none of them just true or false, that a value fits all of."""

    def __init__(self, schemas: Iterable[Mapping[str, Any]]) -> None:
        self._schemas = list(schemas)

    @classmethod
    def of(cls, schemas: Iterable[Schema], root: Schema) -> "Parts | None":
        """What a value fits that fits all of `schemas`, which are parts of `root`; None if no value does."""
        found: dict[int, Mapping[str, Any]] = {}
        waiting = list(schemas)
        while waiting:
            schema = waiting.pop(0)
            if schema is False:
                return None
            if schema is True or id(schema) in found:
                continue
            found[id(schema)] = schema
            waiting += schema.get("allOf", ())
            if "$ref" in schema:
                waiting.append(resolve(schema["$ref"], root))
        return cls(found.values())

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._schemas)

    def values(self, keyword: str) -> list[Any]:
        """What `keyword` says, wherever it stands."""
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
        found: list[Schema] = []
        for schema in self._schemas:
            governing = [schema["properties"][name]] if name in schema.get("properties", ()) else []
            governing += [
                each
                for pattern, each in schema.get("patternProperties", {}).items()
                if pattern_matches(pattern, name)
            ]
            if not governing and schema.get("additionalProperties", True) is not True:
                governing = [schema["additionalProperties"]]
            found += governing
        return found

    def element(self, index: int) -> list[Schema]:
        """The schemas that the element at `index`, from 0 on, of an array fits."""
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


def pattern_matches(pattern: str, name: str) -> bool:
    """Whether a property of this name falls under a pattern of ``patternProperties``."""
    return _compiled(pattern).is_valid(name)


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> jsonschema_rs.Draft202012Validator:
    return compile_schema({"pattern": pattern})
