"""How subschemas apply one another: to the same value, and to what is in it; and what that adds up to."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

from common.event_types.documents import Applied
from common.event_types.errors import InvalidSchemaError

DEEPEST_DATA = 32
"""Depths of the data that are told apart; the last one stands for all that follow."""

LONGEST_CHAIN = 64
"""Most subschemas that apply one another to the same value: each takes a part of the stack."""


class Part(NamedTuple):
    """A subschema, and those that it applies."""

    schema: Mapping[str, Any]
    applied: Applied


Parts: TypeAlias = Mapping[int, Part]
"""All subschemas of a schema that are ever applied, by their `id`; one that is true or false is none."""


def by_depth(
    root: Mapping[str, Any],
    parts: Parts,
    own: Mapping[int, int],
    *,
    below: Mapping[int, int] | None = None,
    passes: Mapping[int, int] | None = None,
) -> Iterator[int]:
    """What all subschemas together ask for, for the data themselves, then for what is in them, as long as it is any.

    Each asks for what is its `own` for a value, and for what is `below` for all that is in the value. What it applies
    to the same value is applied as many times as it has `passes`.

    Raises:
        InvalidSchemaError: see `bottom_up`.
    """
    order = bottom_up(parts)
    asked = dict(own)
    for depth in range(1, DEEPEST_DATA + 1):
        totals = in_place(parts, order, asked, passes or {})
        yield totals[id(root)]
        deeper = {
            key: _of_a_member(part.applied, totals) + (below or {}).get(key, 0) for key, part in parts.items()
        }
        if deeper == asked:  # it is the same at all depths that follow
            yield from repeat(totals[id(root)], DEEPEST_DATA - depth if any(deeper.values()) else 0)
            return
        asked = deeper


def in_place(
    parts: Parts, order: Iterable[int], own: Mapping[int, int], passes: Mapping[int, int]
) -> dict[int, int]:
    """What each subschema asks for together with those that it applies to the same value."""
    totals: dict[int, int] = {}
    for key in order:
        applied = sum(totals.get(id(each), 0) for each in parts[key].applied.in_place)
        totals[key] = own[key] + applied * passes.get(key, 1)
    return totals


def _of_a_member(inner: Applied, totals: Mapping[int, int]) -> int:
    most = max((totals.get(id(each), 0) for each in inner.alternatives), default=0)
    return most + sum(totals.get(id(each), 0) for each in inner.additions)


def bottom_up(parts: Parts) -> list[int]:
    """The keys of `parts`, each after those that it applies to the same value.

    Raises:
        InvalidSchemaError: more than `LONGEST_CHAIN` of them apply one another, or they do so without end.
    """
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
            if above < LONGEST_CHAIN
            else [LONGEST_CHAIN]
        )
        height = 1 + max(below, default=0)
        if height > LONGEST_CHAIN:
            raise InvalidSchemaError(f"applies more than {LONGEST_CHAIN} subschemas in turn to one value")
        heights[key] = height
        return height

    for key in parts:
        visit(key, 0)
    return list(heights)
