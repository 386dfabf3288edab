"""Families of envelopes: fields that are missing, misspelt, repeated, too long, or of the wrong kind."""

import json

from fuzzing import values
from fuzzing.draft import STORED, Input, Source, becomes, dumps, json_object
from fuzzing.families import bulky_family, family

_ENVELOPE = ("event_id", "event_type", "customer_id", "occurred_at", "trace_id", "data")
_IDS = ("event_id", "customer_id", "trace_id")


@family
def repeated_field(source: Source) -> Input:
    """A field of the envelope twice or more: the last counts."""
    draft = source.draft()
    for key, text in source.random.choices(draft.fields, k=source.random.randint(1, 4)):
        at = source.random.randint(0, len(draft.fields))
        draft.fields.insert(at, (key, text))
    return becomes(draft.text(), STORED)


@family
def identifiers(source: Source) -> Input:
    """Ids at their limits, one character long and two hundred, and beyond."""
    length = source.random.choice((0, 1, 2, 199, 200, 201, 255, 5000))
    character = source.random.choice("aé☃😀/ %.\\~\x7f")
    identifier = (character * length)[:length]
    name = source.random.choice(_IDS)
    allowed = STORED if 1 <= length <= 200 else "invalid_envelope"
    return becomes(source.draft().set(name, values.escaped(source.random, identifier)).text(), allowed)


@family
def event_types(source: Source) -> Input:
    """Names of types that nobody knows, or that are none."""
    name = source.random.choice(
        (
            "purchases",
            "x",
            "a" * 100,
            "a" * 101,
            "Purchase",
            "pur-chase",
            "1a",
            "",
            "_a",
            " purchase",
            "purchase ",
            "purchase\n",
            "a.b",
            "тип",
            ".",
            "a/b",
            "purchase\u200b",
        )
    )
    return becomes(
        source.draft().set("event_type", dumps(name)).text(), "unknown_event_type", "invalid_envelope"
    )


@family
def good_instant(source: Source) -> Input:
    return becomes(
        source.draft().set("occurred_at", dumps(source.random.choice(values.GOOD_INSTANTS))).text(), STORED
    )


@family
def bad_instant(source: Source) -> Input:
    draft = source.draft().set("occurred_at", dumps(source.random.choice(values.BAD_INSTANTS)))
    return becomes(draft.text(), "invalid_occurred_at")


@family
def drawn_instant(source: Source) -> Input:
    """An instant put together from parts that may not fit."""
    random = source.random
    year = random.choice((0, 1, 4, 1582, 1900, 2024, 9999))
    date = f"{year:04}-{random.randint(0, 13):02}-{random.randint(0, 32):02}"
    time = f"{random.randint(0, 24):02}:{random.randint(0, 60):02}:{random.randint(0, 61):02}"
    zone = random.choice(("Z", "z", "", "+00:00", "-00:00", "+23:59", "-23:59", "+24:00", "+1:00", "Z0"))
    odd = f"{date}{random.choice('Tt _')}{time}{random.choice(('', '.', '.1', '.' + '9' * 30))}{zone}"
    return becomes(source.draft().set("occurred_at", dumps(odd)).text(), STORED, "invalid_occurred_at")


@family
def missing_field(source: Source) -> Input:
    draft = source.draft()
    name = source.random.choice(("event_type", "customer_id", "data"))
    if name == "data":
        return becomes(json_object(draft.fields), "invalid_envelope")
    draft.fields = [member for member in draft.fields if member[0] != dumps(name)]
    return becomes(draft.text(), "invalid_envelope")


@family
def wrong_kind(source: Source) -> Input:
    """Every field of the envelope with every kind of value."""
    name, kind = source.random.choice(_ENVELOPE), source.random.choice(values.KINDS)
    draft = source.open_draft()
    if name == "data":
        draft.set("data", kind)
    else:
        draft.set(name, kind)
    return becomes(draft.text(), STORED, "invalid_envelope", "invalid_occurred_at", "unknown_event_type")


@family
def misspelt_field(source: Source) -> Input:
    """A required field whose name is not quite right."""
    draft = source.draft()
    wrong = source.random.choice(
        (b'"Event_Type"', b'"event_type "', b'"eventType"', b'"event\\u0000type"', b'""')
    )
    draft.fields = [(wrong if key == b'"event_type"' else key, text) for key, text in draft.fields]
    return becomes(draft.text(), "invalid_envelope")


@family
def escaped_names(source: Source) -> Input:
    """Names of fields written with escapes are the same names."""
    draft = source.draft()
    draft.fields = [(values.escaped(source.random, json.loads(key)), text) for key, text in draft.fields]
    return becomes(draft.text(), STORED)


@bulky_family
def many_fields(source: Source) -> Input:
    """An envelope with thousands of fields that nobody knows."""
    draft = source.draft()
    draft.fields += [
        (b'"x%d"' % number, b"[]") for number in range(source.random.choice((10, 15, 1000, 5000)))
    ]
    return becomes(draft.text(), STORED)


@family
def number_outside_data(source: Source) -> Input:
    """Numbers in fields that nobody reads: the raw log keeps them as they are."""
    return becomes(source.draft().set("extra", values.number(source.random)).text(), STORED)
