"""Whether a new version of a schema accepts all that the one before it accepts, and if not, where and why not.

Schema registries call this backward compatibility; it is its lenient form: a property that the earlier version did not
declare counts as unused, so a new optional field is no break. What looking at one keyword after the other cannot
decide, such as another ``pattern``, counts as a break. So where no break is found there is none; a break that is found
may be none in the end, and whoever knows better can say so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias

from common.event_types.assertions import narrowed
from common.event_types.documents import Schema, pointer, resolve, size, steps
from common.event_types.errors import Incompatibility
from common.event_types.parts import Parts, pattern_matches
from common.event_types.sameness import Sameness

Path: TypeAlias = tuple[str | int, ...]
Found: TypeAlias = Iterator[Incompatibility]

_MOST_EFFORT = 100_000  # well below a second
_MOST_FOUND = 50
# What a keyword speaks about: values of other types it accepts as they are.
_ABOUT = {
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "integer"),
    **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), "string"),
    **dict.fromkeys(
        ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "unevaluatedItems"), "array"
    ),
    **dict.fromkeys(
        ("properties", "patternProperties", "additionalProperties", "propertyNames", "required", "dependentRequired",
         "dependentSchemas", "minProperties", "maxProperties", "unevaluatedProperties"), "object"
    ),
}  # fmt: skip
# Nothing but the same again, of all keywords of a group, is known to be no break.
_OPAQUE = {
    "pattern": ("pattern",),
    "format": ("format",),
    "not": ("not",),
    "oneOf": ("oneOf",),
    "if": ("if", "then", "else"),
    "contains": ("contains", "minContains", "maxContains"),
    "propertyNames": ("propertyNames",),
    "dependentSchemas": ("dependentSchemas",),
}


class _TooMuchError(Exception):
    """There is more to compare than anybody should wait for."""


def find_incompatibilities(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Incompatibility]:
    """Why data that `old` accepts may be refused by `new`, at most 50 reasons; `check_schema` accepts both.

    Paths are JSON Pointers into `new`.
    """
    try:
        found = _Comparison(old, new).differences([old], new, ())
        return list(dict.fromkeys(islice(found, _MOST_FOUND)))
    except (_TooMuchError, RecursionError):
        return [Incompatibility("", "is too intricate to be compared")]


class _Comparison:
    """Compares parts of two schemas: each method yields why values that fit all of `before` may not fit `now`."""

    def __init__(self, old_root: Schema, new_root: Schema) -> None:
        self._old_root, self._new_root = old_root, new_root
        self._sameness = Sameness(old_root, new_root, self._spend)
        self._left = _MOST_EFFORT
        self._entered: set[tuple[frozenset[int], int]] = set()
        self._applicators: dict[str, Callable[[Parts, Mapping[str, Any], Any, Path], Found]] = {
            "$ref": self._reference,
            "allOf": self._all,
            "anyOf": self._any,
            "properties": self._properties,
            "patternProperties": self._patterns,
            "additionalProperties": self._further_properties,
            "prefixItems": self._first_elements,
            "items": self._further_elements,
            "unevaluatedProperties": self._unevaluated,
            "unevaluatedItems": self._unevaluated,
        }

    def differences(self, before: Iterable[Schema], now: Schema, path: Path) -> Found:
        parts = Parts.of(before, self._old_root, self._spend)
        if parts is None or isinstance(now, bool):
            if parts is not None and not now:
                yield Incompatibility(pointer(path), "accepts nothing any more")
            return
        self._spend(size(now) + sum(size(part) for part in parts))
        # Of schemas that contain themselves: what is being compared already holds if all else does.
        question = (frozenset(id(part) for part in parts), id(now))
        if question in self._entered:
            return
        self._entered.add(question)
        try:
            for keyword, value in now.items():
                if _ABOUT.get(keyword) in {None, *parts.types}:
                    yield from self._keyword(parts, now, keyword, value, (*path, keyword))
        finally:
            self._entered.remove(question)

    def _spend(self, effort: int) -> None:
        self._left -= effort
        if self._left < 0:
            raise _TooMuchError

    def _keyword(self, before: Parts, now: Mapping[str, Any], keyword: str, value: Any, path: Path) -> Found:
        if keyword in self._applicators:
            return self._applicators[keyword](before, now, value, path)
        if keyword in _OPAQUE:
            return self._opaque(before, now, _OPAQUE[keyword], path)
        return narrowed(before, keyword, value, path, self._spend)

    def _reference(self, before: Parts, _: Mapping[str, Any], reference: str, _path: Path) -> Found:
        return self.differences(before, resolve(reference, self._new_root), steps(reference))

    def _all(self, before: Parts, _: Mapping[str, Any], schemas: list[Schema], path: Path) -> Found:
        for index, each in enumerate(schemas):
            yield from self.differences(before, each, (*path, index))

    def _any(self, before: Parts, _: Mapping[str, Any], schemas: list[Schema], path: Path) -> Found:
        def fits_one(fitting: Iterable[Schema]) -> bool:
            return any(next(self.differences(fitting, each, path), None) is None for each in schemas)

        said = before.values("anyOf") + before.values("oneOf")
        if not fits_one(before) and not any(
            all(fits_one([*before, each]) for each in alternatives) for alternatives in said
        ):
            yield Incompatibility(pointer(path), "has no alternative for some of what was accepted")

    def _properties(
        self, before: Parts, _: Mapping[str, Any], schemas: Mapping[str, Schema], path: Path
    ) -> Found:
        for name, schema in schemas.items():
            if governing := before.member(name):
                yield from self.differences(governing, schema, (*path, name))

    def _patterns(
        self, before: Parts, _: Mapping[str, Any], schemas: Mapping[str, Schema], path: Path
    ) -> Found:
        for pattern, now in schemas.items():
            where = (*path, pattern)
            for name in before.names:
                if pattern_matches(pattern, name, self._spend):
                    yield from self.differences(before.member(name), now, where)
            if pattern in before.patterns:
                yield from self.differences(before.patterns[pattern], now, where)
                continue
            # Which names fall under two patterns, nobody can tell.
            for each in before.patterns.values():
                yield from self.differences(each, now, where)
            if before.further:
                yield from self.differences(before.further, now, where)

    def _further_properties(
        self, before: Parts, now: Mapping[str, Any], further: Schema, path: Path
    ) -> Found:
        patterns = now.get("patternProperties", {})
        for name in before.names:
            if name in now.get("properties", ()) or any(
                pattern_matches(each, name, self._spend) for each in patterns
            ):
                continue
            for each in self.differences(before.member(name), further, path):
                yield Incompatibility(each.path, f"{name}: {each.detail}")
        for pattern, schemas in before.patterns.items():
            if pattern not in patterns:
                yield from self.differences(schemas, further, path)
        yield from self.differences(before.further, further, path)

    def _first_elements(
        self, before: Parts, _: Mapping[str, Any], schemas: list[Schema], path: Path
    ) -> Found:
        for index, schema in enumerate(schemas):
            yield from self.differences(before.element(index), schema, (*path, index))

    def _further_elements(self, before: Parts, now: Mapping[str, Any], further: Schema, path: Path) -> Found:
        first = len(now.get("prefixItems", ()))
        last = max((len(each) for each in before.values("prefixItems")), default=0)
        # The last one stands for all that follow.
        for index in range(first, max(first, last) + 1):
            yield from self.differences(before.element(index), further, path)

    def _unevaluated(self, before: Parts, now: Mapping[str, Any], value: Schema, path: Path) -> Found:
        if value is not True and not any(self._sameness.of_schemas(part, now) for part in before):
            yield Incompatibility(pointer(path), "is no break for certain only if nothing beside it changes")

    def _opaque(self, before: Parts, now: Mapping[str, Any], group: tuple[str, ...], path: Path) -> Found:
        def is_same(part: Mapping[str, Any]) -> bool:
            return all(
                (keyword in part) == (keyword in now)
                and (keyword not in now or self._sameness.of_keyword(keyword, part[keyword], now[keyword]))
                for keyword in group
            )

        if not any(is_same(part) for part in before):
            how = "has changed" if before.values(group[0]) else "is new"
            yield Incompatibility(pointer(path), f"{how}, and nobody can tell what it refuses")
