"""From the text of a table's cell to the value that is sent; numbers keep every digit and never become floats."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

Convert = Callable[[str], Any]
"""Turns a cell's text into something that `encode` writes as JSON; raises ValueError with a reason."""

_encoder = msgspec.json.Encoder(decimal_format="number")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})

encode: Callable[[Any], bytes] = _encoder.encode
"""JSON as UTF-8 without line breaks; a `Decimal` becomes a number with exactly its digits."""


def plain_decimal(text: str) -> str:
    """`text` as a decimal in plain notation: ``+012.50`` becomes ``12.50``. Digits are neither lost nor rounded.

    Raises:
        ValueError: it is something else, for instance ``1,234.5`` or ``1.2E+5``.
    """
    stripped = text.strip()
    if not _DECIMAL.fullmatch(stripped):
        raise ValueError(f"{_shown(text)} is not a decimal number such as 1234.50")
    return format(Decimal(stripped), "f")


def _number(text: str) -> msgspec.Raw:
    return msgspec.Raw(plain_decimal(text).encode())


def _integer(text: str) -> msgspec.Raw:
    if not _INTEGER.fullmatch(text.strip()):
        raise ValueError(f"{_shown(text)} is not a whole number")
    return _number(text)


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{_shown(text)} is neither true nor false")


def _json(text: str) -> msgspec.Raw:
    raw = text.encode()
    try:
        msgspec.json.decode(b"[%b]" % raw, type=tuple[msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        raise ValueError(f"{_shown(text)} is not JSON") from None
    return msgspec.Raw(one_line(raw))


CONVERTERS: dict[str, Convert] = {
    "string": str,
    "int": _integer,
    "decimal": plain_decimal,
    "number": _number,
    "bool": _boolean,
    "json": _json,
}
"""The types of a data field by name. ``decimal`` is sent as a JSON string, ``number`` as a JSON number."""


def time_converter(time_format: str) -> Convert:
    """Return the reader of instants in `time_format`, yielding RFC 3339; without an offset UTC is meant.

    `time_format` is ``iso`` (a date without a time is its midnight), ``epoch`` (seconds), ``epoch_ms``, or a
    pattern as in `datetime.strptime`.
    """
    if time_format == "iso":
        return lambda text: _rfc3339(_read_time(text, datetime.fromisoformat, "an ISO 8601 date or time"))
    if time_format in {"epoch", "epoch_ms"}:
        unit = 1_000_000 if time_format == "epoch" else 1_000
        return lambda text: _rfc3339(
            _EPOCH + timedelta(microseconds=int(Decimal(plain_decimal(text)) * unit)),
        )

    def read(text: str) -> datetime:
        return datetime.strptime(text, time_format)  # noqa: DTZ007 - _rfc3339 takes it as UTC

    return lambda text: _rfc3339(_read_time(text, read, f"a time like {time_format}"))


def one_line(raw: bytes) -> bytes:
    """Valid JSON without line breaks, which can only stand between its tokens."""
    return raw.replace(b"\r", b" ").replace(b"\n", b" ")


def _read_time(text: str, read: Callable[[str], datetime], expected: str) -> datetime:
    try:
        return read(text.strip())
    except ValueError:
        raise ValueError(f"{_shown(text)} is not {expected}") from None


def _rfc3339(instant: datetime) -> str:
    # The offset is kept rather than converted: the first and last hours of the calendar have no UTC in it.
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return aware.isoformat().replace("+00:00", "Z")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
