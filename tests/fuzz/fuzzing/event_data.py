"""Families of data: numbers, money, sizes, and everything that a type's schema may say no to."""

import json
from decimal import Decimal, InvalidOperation
from math import isinf
from typing import Any

import jsonschema_rs

from fuzzing import values
from fuzzing.draft import INVALID_SAMPLES, STORED, Input, Source, becomes, dumps, json_object
from fuzzing.families import bulky_family, family

_MAX_EVENT_BYTES = 256 * 1024


@family
def invalid_sample(source: Source) -> Input:
    """The domain's samples of what its schemas refuse."""
    return becomes(source.draft(source.random.choice(INVALID_SAMPLES)).text(), "schema_violation")


@family
def numbers(source: Source) -> Input:
    """Long and extreme numbers: exact, or refused as out of range."""
    draft = source.open_draft()
    drawn = [values.number(source.random) for _ in range(source.random.choice((1, 1, 3)))]
    draft.put("numbers", b"[" + b",".join(drawn) + b"]")
    storable = all(_is_storable(each) for each in drawn)
    return becomes(draft.text(), STORED if storable else "number_out_of_range")


@family
def money(source: Source) -> Input:
    """Amounts in every spelling; the schema decides."""
    draft = source.draft()
    spelled = values.number(source.random)
    quoted = source.random.choice((b"%b", b'"%b"', b'" %b"', b'"%b "', b'"$%b"')) % spelled
    draft.put("amount", quoted).put(
        "currency", source.random.choice((b'"USD"', b'"XTS"', b'"usd"', b'"US"', b"1"))
    )
    return becomes(draft.text(), STORED, "schema_violation", "number_out_of_range")


@family
def money_of_ones_own(source: Source) -> Input:
    """Amounts in a type whose schema does not care."""
    draft = source.open_draft().put("currency", b'"EUR"')
    amount = source.random.choice((values.number(source.random), source.random.choice(values.KINDS)))
    draft.put("amount", source.random.choice((amount, b'"' + amount.replace(b'"', b"") + b'"')))
    return becomes(draft.text(), STORED, "number_out_of_range")


@bulky_family
def many_exponents(source: Source) -> Input:
    """Short numbers that are long once they are written out."""
    count, power = (
        source.random.choice((10, 500, 900, 3000, 30_000)),
        source.random.choice((9, 50, 99, 300, -300)),
    )
    draft = source.open_draft().put("x", b"[" + b",".join([b"1e%d" % power] * count) + b"]")
    return becomes(draft.text(), STORED, "number_out_of_range", "event_too_large")


@family
def wrong_member(source: Source) -> Input:
    """Every member that a schema names, with every kind of value."""
    sample = source.sample()
    draft = source.draft(sample)
    name = source.random.choice(list(sample.schema["properties"]))
    drawn = source.random.choice((source.random.choice(values.KINDS), values.value(source.random)))
    draft.put(name, drawn)
    return becomes(draft.text(), STORED, "schema_violation")


@family
def missing_member(source: Source) -> Input:
    sample = source.sample()
    draft = source.draft(sample)
    if draft.data:
        draft.data.pop(source.random.randrange(len(draft.data)))
    return becomes(draft.text(), STORED, "schema_violation")


@family
def extra_members(source: Source) -> Input:
    """Fields that only the sender knows, in any type: kept, unless a schema forbids them."""
    draft = source.draft()
    for _ in range(source.random.randint(1, 3)):
        draft.data.append(
            (values.escaped(source.random, "x-" + values.text(source.random)), values.value(source.random))
        )
    return becomes(draft.text(), STORED, "schema_violation")


@family
def from_schema(source: Source) -> Input:
    """Data put together from a schema's own vocabulary, judged by the schema itself."""
    sample = source.sample()
    draft = source.draft(sample)
    draft.data = []
    for name, schema in sample.schema["properties"].items():
        if source.chance(0.7):
            draft.put(name, dumps(_like(source, schema)))
    data = json.loads(json_object(draft.data))
    fits = jsonschema_rs.Draft202012Validator(dict(sample.schema), validate_formats=True).is_valid(data)
    return becomes(draft.text(), STORED if fits else "schema_violation")


@family
def profile(source: Source) -> Input:
    """Changes of profiles with any values."""
    draft = source.draft()
    draft.set("event_type", b'"customer_updated"')
    fields = {"custom_fields", "name", "email", "phone", "tags"}
    draft.data = []
    for name in sorted(fields):
        if source.chance(0.4):
            draft.put(name, source.random.choice((values.value(source.random), b"null")))
    if source.chance(0.5):
        members = [
            (values.escaped(source.random, values.text(source.random)), values.value(source.random))
            for _ in range(3)
        ]
        draft.put("custom_fields", json_object(members))
    return becomes(draft.text(), STORED, "schema_violation")


@bulky_family
def long_text(source: Source) -> Input:
    """Strings up to the largest event and one byte beyond."""
    size = source.random.choice(
        (1000, 16_384, 32_766, 32_767, 100_000, _MAX_EVENT_BYTES, _MAX_EVENT_BYTES + 1)
    )
    character = source.random.choice(("x", "é", "😀", " ", "\x7f", "x "))
    draft = source.open_draft().put("text", b'""')
    room = max(1, min(size, size - len(draft.text()) if size >= _MAX_EVENT_BYTES else size))
    filler = (character * room).encode()[:room].decode(errors="ignore").encode()
    filler += b"x" * (room - len(filler))
    raw = draft.put("text", b'"' + filler + b'"').text()
    return becomes(raw, STORED if len(raw) <= _MAX_EVENT_BYTES else "event_too_large")


@bulky_family
def long_key(source: Source) -> Input:
    length = source.random.choice((100, 1000, 24_999, 25_000, 25_001, 50_001, 200_000))
    draft = source.open_draft()
    draft.data.append((dumps("k" * length), b"1"))
    return becomes(draft.text(), STORED if length <= 25_000 else "key_too_long")


@bulky_family
def many_keys(source: Source) -> Input:
    """Thousands of keys."""
    draft = source.open_draft()
    draft.data = [
        (b'"k%d"' % number, b"1") for number in range(source.random.choice((100, 1000, 5000, 20_000)))
    ]
    raw = draft.text()
    return becomes(raw, STORED if len(raw) <= _MAX_EVENT_BYTES else "event_too_large")


def _is_storable(spelled: bytes) -> bool:
    """The documented rule for numbers, written once more and independently."""
    try:
        number = Decimal(spelled.decode())
    except InvalidOperation:
        return False
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    if not any(digits):
        return len(digits) <= 100 and abs(exponent) <= 308
    return len(digits) <= 100 and number.adjusted() >= -308 and not isinf(float(number))


def _like(source: Source, schema: dict[str, Any]) -> object:
    """A value that more or less fits `schema`."""
    kinds = schema.get("type", "string")
    kind = source.random.choice(kinds) if isinstance(kinds, list) else kinds
    if "enum" in schema and source.chance(0.9):
        return source.random.choice(schema["enum"])
    match kind:
        case "string":
            guesses = (
                "1.50",
                "USD",
                "a@example.com",
                "2026-11-21T10:30:00Z",
                "x",
                values.text(source.random),
            )
            return source.random.choice(guesses)[: source.random.choice((1, 3, 50, 500, 5000))]
        case "number" | "integer":
            limits = [schema[name] for name in ("minimum", "maximum", "exclusiveMaximum") if name in schema]
            return source.random.choice((0, 1, 2.5, 100, -1, *limits, *(limit + 1 for limit in limits)))
        case "array":
            return [_like(source, schema.get("items", {})) for _ in range(source.random.randrange(4))]
        case "object":
            return {name: _like(source, each) for name, each in schema.get("properties", {"k": {}}).items()}
        case _:
            return True if kind == "boolean" else None
