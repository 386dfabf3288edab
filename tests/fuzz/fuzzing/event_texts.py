"""Families of events as texts: what is valid JSON and what is not, and characters of all kinds."""

from fuzzing import values
from fuzzing.draft import STORED, Input, Source, becomes, json_object
from fuzzing.families import bulky_family, family

_MAX_NESTING = 16
_ENVELOPE = ("event_id", "event_type", "customer_id", "occurred_at", "trace_id", "data")
_IDS = ("event_id", "customer_id", "trace_id")


@family
def valid(source: Source) -> Input:
    """The domain's samples, members shuffled, with white space wherever JSON allows it."""
    draft = source.draft()
    source.random.shuffle(draft.fields)
    space = source.random.choice((b"", b" ", b"\t", b" \r "))
    return becomes(draft.text().replace(b',"', b"," + space + b'"') + space, STORED)


@family
def truncated(source: Source) -> Input:
    """Cut off anywhere."""
    whole = source.draft().text()
    return becomes(whole[: source.random.randint(1, len(whole) - 1)], "invalid_json")


@family
def trailing(source: Source) -> Input:
    """Something after the end."""
    rest = source.random.choice(
        (b"x", b"}", b"]", b"{}", b"\x00", b"1", b"null", b"//", b"\xef\xbb\xbf", b'"')
    )
    return becomes(source.draft().text() + rest, "invalid_json")


@bulky_family
def nested(source: Source) -> Input:
    """Up to the limit, just beyond it and far beyond it."""
    depth = source.random.choice((1, 8, 13, 14, 15, 16, 50, 500, 5000, 50_000))
    raw = source.open_draft().put("deep", values.nested(source.random, depth)).text()
    return becomes(raw, STORED if depth + 2 <= _MAX_NESTING else "nesting_too_deep")


@bulky_family
def unbalanced(source: Source) -> Input:
    """Thousands of brackets that nobody closes, or nobody opened."""
    bracket = source.random.choice((b"[", b'{"a":', b"]", b"}", b"[{", b'[{"a":['))
    raw = source.open_draft().put("x", bracket * source.random.choice((1, 20, 2000, 60_000))).text()
    return becomes(raw, "invalid_json", "nesting_too_deep", "event_too_large")


@bulky_family
def repeated_key(source: Source) -> Input:
    """A member of ``data`` many times, at some depth."""
    draft = source.open_draft()
    key = values.escaped(source.random, values.text(source.random))
    members = [(key, values.value(source.random, 1)) for _ in range(source.random.choice((2, 3, 50)))]
    allowed = STORED
    if source.chance(0.3):  # what is dropped is read nevertheless
        odd, allowed = source.random.choice(
            ((b"1e999", "number_out_of_range"), (b'"\\u0000"', "unsupported_character"))
        )
        members.insert(0, (key, odd))
    if source.chance(0.5):
        draft.data = members
    else:
        draft.put("inner", json_object(members))
    return becomes(draft.text(), allowed)


@family
def not_utf8(source: Source) -> Input:
    """Bytes that are no UTF-8, anywhere."""
    raw = source.draft().text()
    at = source.random.randint(1, len(raw) - 1)
    return becomes(raw[:at] + source.random.choice(values.NOT_UTF8) + raw[at:], "invalid_json")


@family
def byte_order_mark(source: Source) -> Input:
    """A byte order mark where no body begins."""
    return becomes(b" \xef\xbb\xbf" + source.draft().text(), "invalid_json")


@family
def u0000(source: Source) -> Input:
    """The escape of U+0000 in every place that holds a string."""
    random = source.random
    odd = b'"a\\u0000b"'
    place = random.randrange(7)
    draft = source.open_draft()
    if place == 0:
        return becomes(draft.set(random.choice((*_IDS, "event_type")), odd).text(), "invalid_envelope")
    if place == 1:
        return becomes(draft.set("occurred_at", odd).text(), "invalid_occurred_at")
    if place == 2:
        draft.fields.append((odd, odd))  # the raw log keeps what the envelope does not know
        return becomes(draft.text(), STORED)
    if place == 3:
        draft.data.append((odd, b"1"))
    elif place == 4:
        draft.put("list", b"[[" + odd + b"]]")
    elif place == 5:
        draft.put("inner", b"{" + odd + b":1}")
    else:
        return becomes(draft.put("text", b'"a\\\\u0000b"').text(), STORED)  # a backslash, then letters
    return becomes(draft.text(), "unsupported_character")


@family
def lone_surrogate(source: Source) -> Input:
    """Half a character, in values, keys, and fields that nobody reads."""
    half = b'"' + source.random.choice(values.LONE_SURROGATES) + b'"'
    draft = source.open_draft()
    place = source.random.randrange(4)
    if place == 0:
        draft.set(source.random.choice(_IDS), half)
    elif place == 1:
        draft.fields.append((half, b"1"))
    elif place == 2:
        draft.data.append((half, b"1"))
    else:
        draft.put("x", b"[" + half + b"]")
    return becomes(draft.text(), "invalid_json")


@family
def not_json(source: Source) -> Input:
    """What other languages take for a value, in any place of one."""
    draft, odd = source.open_draft(), source.random.choice(values.NOT_JSON)
    place = source.random.randrange(3)
    if place == 0:
        draft.set(source.random.choice((*_ENVELOPE, "extra")), odd)
    elif place == 1:
        draft.put("x", odd)
    else:
        draft.put("x", b'[1,{"a":' + odd + b"}]")
    return becomes(draft.text(), "invalid_json", "invalid_envelope")


@family
def unicode(source: Source) -> Input:
    """Characters of all planes in ids, keys and values."""
    draft = source.open_draft()
    name = source.random.choice(("customer_id", "trace_id"))
    identifier = (values.text(source.random) or "x")[:200]
    draft.set(name, values.escaped(source.random, identifier))
    for _ in range(source.random.randint(1, 5)):
        key = values.escaped(source.random, values.text(source.random))
        draft.data.append((key, values.value(source.random)))
    return becomes(draft.text(), STORED)


@family
def mutated(source: Source) -> Input:
    """A valid event with some bytes flipped, dropped, doubled or exchanged."""
    raw = bytearray(source.draft().text())
    for _ in range(source.random.choice((1, 1, 2, 5, 20))):
        at = source.random.randrange(len(raw))
        match source.random.randrange(5):
            case 0:
                raw[at] ^= 1 << source.random.randrange(8)
            case 1:
                del raw[at : at + source.random.randint(1, 4)]
            case 2:
                raw[at:at] = raw[at : at + source.random.randint(1, 10)]
            case 3:
                raw[at] = source.random.randrange(256)
            case _:
                raw[at:at] = source.random.choice(
                    (b'"', b"\\", b"{", b"}", b",", b":", b"\\u", b"0", b"e", b"-")
                )
        raw = raw or bytearray(b"{")
    return becomes(bytes(raw))


@family
def no_event(source: Source) -> Input:
    """Valid JSON that is no event."""
    raw = source.random.choice(
        (
            b"{}",
            b"[]",
            b'""',
            b"null",
            b"0",
            b"true",
            b'"x"',
            b"[[]]",
            b"[{}]",
            b'{"":""}',
            b'{"data":{}}',
            b'{"data":{},"customer_id":"c"}',
            b"-0",
            b"1e999",
        )
    )
    return becomes(raw, "invalid_envelope")
