"""The work of holding an event against a schema, told before it is done: by the schema, and by what the event holds.

A unit is about a tenth of a microsecond, at the worst that is known of each keyword. A schema asks for so many units
for each value, character, long number and character of a name, at each depth of the data; the data say how many it has.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import zip_longest
from typing import Any, NamedTuple

import jsonschema_rs

from common.event_types.application import DEEPEST_DATA, Parts, bottom_up, by_depth, in_place
from common.event_types.text_keys import TextKeys, find_text_keys

LARGEST_PATTERN = 64
"""In KiB when compiled, of those that are told apart; any other counts as twice as large."""

# What a byte of text costs at the worst: where the states of a pattern are too many to be kept, each byte is held
# against all of them.
_UNITS_OF_A_PATTERN = {1: 1, 2: 5, 4: 10, 8: 16, 16: 32, 32: 45, LARGEST_PATTERN: 90}
_UNITS_OF_A_LARGER_PATTERN = 160
_NAMES_OF_A_UNIT = 4
_LOOKED_UP_VALUES_OF_A_UNIT = 10  # if all are texts, or all integers; anything else is compared, one by one
_UNITS_OF_A_LISTED_VALUE = 4
_UNITS_OF_A_MULTIPLE = 5
_UNITS_OF_A_UNIQUE_VALUE = 4
# To tell what is evaluated, all that applies to the value is applied again, and by each of these within each other.
_PASSES_OF_UNEVALUATED = 3
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")

_LARGEST_SHORT_NUMBER = 2**63
_UNITS_OF_A_LONG_NUMBER = 10
_UNITS_OF_A_BYTE_OF_A_NUMBER = 20  # of 1e-300 for instance
_SHORTEST_VALUE = 2  # bytes, with the comma


class Amounts(NamedTuple):
    """Of each kind: how much of it data hold at one depth; or how many units a schema asks for, for one of it."""

    values: int = 0
    characters: int = 0
    long_numbers: int = 0
    name_characters: int = 0


class Effort:
    """What a schema asks for: `depths` has the units, for the data themselves, then what is in them, and so on.

    Of texts it looks at those under its `text_keys`.
    """

    def __init__(self, depths: Sequence[Amounts], text_keys: TextKeys = None) -> None:
        self.text_keys = text_keys
        self._depths = list(depths)
        most = Amounts(*(max(each) for each in zip(*depths, strict=True)))
        self.of_a_byte = (
            most.values / _SHORTEST_VALUE
            + most.characters
            + most.long_numbers * _UNITS_OF_A_BYTE_OF_A_NUMBER
            + most.name_characters
        )
        """Units that no byte of JSON, whatever it is, exceeds on average."""
        if len(self._depths) == DEEPEST_DATA:
            self._depths[-1] = most
        self.most = most

    def of(self, measured: Iterable[Amounts]) -> int:
        """Units for data of which `measure` tells the amounts."""
        return sum(
            sum(amount * units for amount, units in zip(amounts, asked, strict=True))
            for amounts, asked in zip(measured, self._depths, strict=False)
        )


def measure(data: Any, text_keys: TextKeys = None) -> list[Amounts]:
    """What parsed JSON `data` hold at each depth, from the top; names count as values beside those that they name.

    Numbers are `int` or `Decimal`; of texts those under the `text_keys` count.
    """
    found: list[Amounts] = []
    level: list[tuple[Any, bool]] = [([data], text_keys is None)]
    while level:
        values = characters = numbers = names = 0
        below: list[tuple[Any, bool]] = []
        for container, counts in level:
            values += len(container)
            for value in container:
                if isinstance(value, str):
                    characters += _bytes(value) if counts else 0
                elif isinstance(value, dict):
                    names += _bytes("".join(value))
                    below.append((value, text_keys is None))
                    if text_keys is None or text_keys.isdisjoint(value):
                        below.append((value.values(), text_keys is None))
                    else:
                        below += [((each,), name in text_keys) for name, each in value.items()]
                elif isinstance(value, list):
                    below.append((value, counts))
                elif isinstance(value, Decimal):
                    numbers += _UNITS_OF_A_LONG_NUMBER + len(str(value)) + abs(value.adjusted()) // 3
                elif isinstance(value, int) and abs(value) >= _LARGEST_SHORT_NUMBER:
                    numbers += _UNITS_OF_A_LONG_NUMBER + value.bit_length() // 6
        amounts = Amounts(values, characters, numbers, names)
        if len(found) < DEEPEST_DATA:
            found.append(amounts)
        else:
            found[-1] = Amounts(*map(sum, zip(found[-1], amounts, strict=True)))
        level = below
    return found


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def effort_of(root: Mapping[str, Any], parts: Parts) -> Effort:
    """What `root`, of which `parts` are all, asks for.

    Raises:
        InvalidSchemaError: it refers to itself for the same value without end, or nearly so.
    """
    own = {key: _own(part.schema) for key, part in parts.items()}
    unique = {
        key: _UNITS_OF_A_UNIQUE_VALUE for key, part in parts.items() if part.schema.get("uniqueItems") is True
    }
    passes = {
        key: _PASSES_OF_UNEVALUATED if _leaves_the_rest(part.schema) else 1 for key, part in parts.items()
    }
    # Each name is looked for in all that applies to the same value, again.
    applied = in_place(parts, bottom_up(parts), dict.fromkeys(parts, 1), passes)
    for key, part in parts.items():
        if _leaves_the_rest(part.schema):
            units = own[key]
            own[key] = units._replace(name_characters=2 * units.name_characters + 1 + applied[key] // 5)
    by_kind = (
        by_depth(
            root,
            parts,
            {key: units[kind] for key, units in own.items()},
            below=unique if kind == 0 else {},
            passes=passes,
        )
        for kind in range(len(Amounts._fields))
    )
    return Effort(
        [Amounts(*each) for each in zip_longest(*by_kind, fillvalue=0)], find_text_keys(root, parts)
    )


def _leaves_the_rest(schema: Mapping[str, Any]) -> bool:
    return "unevaluatedProperties" in schema or "unevaluatedItems" in schema


def _own(schema: Mapping[str, Any]) -> Amounts:
    """Units for the keywords of `schema` that look at a value itself, or at its names."""
    dependent = schema.get("dependentRequired", {})
    names = sum(len(schema.get(each, ())) for each in ("required", "properties", "dependentSchemas"))
    names += len(dependent) + sum(map(len, dependent.values()))
    listed = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
    kinds = {type(each) for each in listed}
    values = 1 + names // _NAMES_OF_A_UNIT
    values += (
        len(listed) // _LOOKED_UP_VALUES_OF_A_UNIT
        if kinds in ({str}, {int})
        else _UNITS_OF_A_LISTED_VALUE * sum(amounts.values for each in listed for amounts in measure(each))
    )
    numbers = sum(each in schema for each in (*_BOUNDS, "type")) + (0 if kinds == {str} else len(listed))
    if "multipleOf" in schema:
        values += _UNITS_OF_A_MULTIPLE
        numbers += 2
    patterns = schema.get("patternProperties", ())
    return Amounts(
        values,
        ("format" in schema) + (units_of(schema["pattern"]) if "pattern" in schema else 0),
        numbers,
        len(patterns) + sum(map(units_of, patterns)),
    )


def units_of(pattern: str) -> int:
    """Units that a pattern, which compiles, takes for each byte of a text at the worst."""
    return _UNITS_OF_A_PATTERN.get(compiled_kibibytes(pattern), _UNITS_OF_A_LARGER_PATTERN)


@lru_cache(maxsize=1024)
def compiled_kibibytes(pattern: str) -> int:
    """About how much memory a pattern takes when compiled; twice `LARGEST_PATTERN` if it is more than that."""
    for most in _UNITS_OF_A_PATTERN:
        options = jsonschema_rs.RegexOptions(size_limit=most * 1024)
        try:
            jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=options)
        except jsonschema_rs.ValidationError:
            continue
        return most
    return 2 * LARGEST_PATTERN
