"""What of JSON every store holds without loss; the rest is refused, by one rule for all of them.

The rule stands in docs/signal_lifecycle.md, "What cannot be stored".
"""

import json
import re
import sys
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from common.errors import InvalidEventError

MOST_DIGITS = 100
"""Most digits of a number, leading zeros of a fraction aside."""

LARGEST_EXPONENT = 308
"""Numbers other than 0 lie between 10^-308 and what a double holds, about 1.8 * 10^308."""

MOST_WRITTEN_CHARACTERS = 256 * 1024
"""PostgreSQL writes numbers out: 1e300 has 301 characters then. So many may all numbers of an event have."""

MOST_KEY_CHARACTERS = 25_000
"""Some releases of Elasticsearch refuse keys over 50,000 UTF-16 units, two of which a character may need."""

_LARGEST = Decimal(sys.float_info.max)
# All digits become 0, and e stays, so that two plain searches tell of most texts that there is nothing to look for.
# A number of too many digits has at least half of them before or behind its point.
_DIGITS_AND_E = bytes(
    ord("0") if byte in b"0123456789" else ord("e") if byte in b"eE" else ord(" ") for byte in range(256)
)
_LONG_NUMBER = b"0" * (MOST_DIGITS // 2)
_EXPONENT = b"0e"
# With an exponent of one digit a number grows threefold at the most: those need no look.
_LARGE_EXPONENT = re.compile(rb"[:\[,\s]-?[0-9.]+[eE][+-]?[0-9]{2}")
_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode


def parse_storable(text: bytes, pointer: str = "/data") -> dict[str, Any]:
    """Parse a JSON object that is to be stored, with `Decimal` in place of floats.

    Args:
        text: a JSON object, known to be UTF-8.
        pointer: the JSON Pointer to the object, for the path of a refusal.

    Raises:
        InvalidEventError: with code ``unsupported_character``, ``number_out_of_range``, ``key_too_long`` or
            ``invalid_json``, and the path of what offends.
    """
    # The searches are far cheaper than the walk, which hardly any event needs.
    digits = text.translate(_DIGITS_AND_E)
    if (
        b"\\u0000" in text
        or len(text) > MOST_KEY_CHARACTERS
        or _LONG_NUMBER in digits
        or (_EXPONENT in digits and _LARGE_EXPONENT.search(text))
    ):
        _check(text, pointer)
    try:
        return _decode(text)
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidEventError("invalid_json", f"not valid JSON: {error}", pointer) from None


def escape_step(step: str) -> str:
    """`step` as a part of a JSON Pointer that can be stored, U+0000 being spelled out."""
    return step.replace("~", "~0").replace("/", "~1").replace("\0", "\\u0000")


class _Members(list[tuple[str, Any]]):
    """An object with all of its members: PostgreSQL reads repeated ones too before it drops all but the last."""


def _check(text: bytes, pointer: str) -> None:
    written = 0
    # Only here any number must be readable, to tell where it stands.
    parsed = json.loads(text, parse_int=_number, parse_float=_number, object_pairs_hook=_Members)
    for path, value in _leaves(parsed, pointer):
        if isinstance(value, str):
            if "\0" in value:
                raise InvalidEventError("unsupported_character", "U+0000 cannot be stored in text", path)
        elif isinstance(value, Decimal):
            written += _written_characters(value)
            if _is_outsized(value) or written > MOST_WRITTEN_CHARACTERS:
                raise _out_of_range(path)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every scalar and every key below `value`, with its JSON Pointer."""
    match value:
        case _Members():
            for key, item in value:
                if len(key) > MOST_KEY_CHARACTERS:
                    raise InvalidEventError(
                        "key_too_long", f"a key has more than {MOST_KEY_CHARACTERS} characters", path
                    )
                where = f"{path}/{escape_step(key)}"
                yield where, key
                yield from _leaves(item, where)
        case list():
            for index, item in enumerate(value):
                yield from _leaves(item, f"{path}/{index}")
        case _:
            yield path, value


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of a great many digits
        return Decimal("Infinity")


def _is_outsized(number: Decimal) -> bool:
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or len(digits) > MOST_DIGITS:
        return True
    if not number:
        return abs(exponent) > LARGEST_EXPONENT
    return number.adjusted() < -LARGEST_EXPONENT or number.copy_abs() > _LARGEST


def _written_characters(number: Decimal) -> int:
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        return 0
    return len(digits) + exponent if exponent >= 0 else max(len(digits), 1 - exponent) + 1


def _out_of_range(path: str) -> InvalidEventError:
    return InvalidEventError(
        "number_out_of_range",
        f"numbers take at most {MOST_DIGITS} digits, exponents up to ±{LARGEST_EXPONENT} and the size of a double;"
        f" written out, all numbers of an event take at most {MOST_WRITTEN_CHARACTERS} characters",
        path,
    )
