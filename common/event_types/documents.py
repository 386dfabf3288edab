"""A JSON Schema as a graph: which of its parts apply to a value, and which to what is in the value."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

from common.event_types.errors import InvalidSchemaError
from common.storable import escape_step

Schema: TypeAlias = Mapping[str, Any] | bool


@dataclass(frozen=True, slots=True)
class Applied:
    """The subschemas of a schema, by what they apply to.

    `in_place`: to the same value. `alternatives`: to a member or element of it, one of them to each. `additions`:
    likewise, several to each.
    """

    in_place: list[Schema] = field(default_factory=list)
    alternatives: list[Schema] = field(default_factory=list)
    additions: list[Schema] = field(default_factory=list)

    def __iter__(self) -> Iterator[Schema]:
        yield from self.in_place
        yield from self.alternatives
        yield from self.additions


def applied(schema: Schema, root: Schema) -> Applied:
    """The subschemas of `schema`, which is a part of `root`; the draft's own schema must accept both.

    Raises:
        InvalidSchemaError: a reference leads out of `root`, or nowhere in it.
    """
    found = Applied()
    for keyword, value in () if isinstance(schema, bool) else schema.items():
        match keyword:
            case "$ref":
                found.in_place.append(resolve(value, root))
            case "not" | "if" | "then" | "else":
                found.in_place.append(value)
            case "allOf" | "anyOf" | "oneOf":
                found.in_place.extend(value)
            case "dependentSchemas":
                found.in_place.extend(value.values())
            case "properties":
                found.alternatives.extend(value.values())
            case "prefixItems":
                found.alternatives.extend(value)
            case "items" | "additionalProperties" | "unevaluatedProperties":
                found.alternatives.append(value)
            case "patternProperties":
                found.additions.extend(value.values())
            case "propertyNames" | "contains" | "unevaluatedItems":
                found.additions.append(value)
    return found


def size(schema: Mapping[str, Any]) -> int:
    """About how much work a look at all keywords of `schema` is."""
    return len(schema) + sum(len(value) for value in schema.values() if isinstance(value, list | dict))


def resolve(reference: str, root: Schema) -> Schema:
    """The part of `root` that a ``$ref`` names by a JSON Pointer.

    Raises:
        InvalidSchemaError: it leads out of `root`, or nowhere in it.
    """
    if not reference.startswith("#"):
        raise InvalidSchemaError(f"a schema stands alone, but this one refers to {reference}")
    if reference != "#" and not reference.startswith("#/"):
        raise InvalidSchemaError(f"the reference {reference} is no JSON Pointer, such as #/$defs/money")
    found: Any = root
    for name in steps(reference):
        if isinstance(found, Mapping) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            raise InvalidSchemaError(f"the reference {reference} leads nowhere")
    if not isinstance(found, Mapping | bool):
        raise InvalidSchemaError(f"the reference {reference} leads to no schema")
    return found


def steps(reference: str) -> tuple[str, ...]:
    """What a ``$ref`` of the form ``#/…`` passes on its way from the root."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in unquote(reference[1:]).split("/")[1:])


def pointer(path: Iterable[str | int]) -> str:
    """A path as a JSON Pointer (RFC 6901)."""
    return "".join(f"/{escape_step(str(step))}" for step in path)
