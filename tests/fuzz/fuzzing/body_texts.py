"""Families of bodies by their text: lines and arrays, whole and broken, empty, and as many events as there may be."""

from fuzzing import values
from fuzzing.draft import STORED, Input, Source, becomes
from fuzzing.event_texts import not_json, valid
from fuzzing.posts import JSON, NDJSON, Post, accepted, array, bulky_family, family, ndjson, refused, several

_MAX_REQUEST_EVENTS = 10_000


@family
def lines(source: Source) -> Post:
    """Blank lines, CRLF, white space around, with and without a last line's end, good and bad lines mixed."""
    inputs = [*several(source), not_json(source), *several(source)]
    source.random.shuffle(inputs)
    inputs = [each for each in inputs if b"\n" not in each.raw]
    ends = (b"\n", b"\r\n", b"\n\n", b"\r\n \t\r\n", b" \r\n")
    body = b"".join(each.raw + source.random.choice(ends) for each in inputs)
    prefix = source.random.choice((b"", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n \n"))
    kept = body if source.chance(0.5) else body.rstrip()
    return accepted(
        prefix + kept, source.random.choice((NDJSON, "application/ndjson", "application/jsonl")), inputs
    )


@family
def spaced_array(source: Source) -> Post:
    inputs = several(source)
    comma = source.random.choice((b",", b" ,\n", b"\r\n,\t"))
    prefix = source.random.choice((b"", b"\xef\xbb\xbf", b" \n\t"))
    body = prefix + b"[ " + comma.join(each.raw for each in inputs) + b"\n] \n"
    return accepted(body, JSON, inputs)


@family
def broken_array(source: Source) -> Post:
    """Arrays of good events that cannot be cut: refused as a whole."""
    whole = b"[" + b",".join(each.raw for each in several(source)) + b"]"
    breaks = (
        whole[:-1] + b",]",
        b"[," + whole[1:],
        whole[:-1],
        whole + b"]",
        whole[1:-1] + b",{}",
        whole + whole,
        b"[" + whole[:-1],
        whole.replace(b"}", b"", 1),
        whole + b"\x00",
        whole[: len(whole) // 2],
        b"[\x00]",
        b"[\xff",
    )
    return refused(
        source.random.choice(breaks), JSON, "invalid_json", "all_events_refused", "invalid_envelope"
    )


@bulky_family
def nested_arrays(source: Source) -> Post:
    depth = source.random.choice((1, 100, 10_000, 1_000_000))
    closed = source.chance(0.5)
    body = b"[" * depth + (b"]" * depth if closed else b"")
    return refused(body, JSON, "invalid_json", "nesting_too_deep", "all_events_refused", "empty_request")


@family
def empty(source: Source) -> Post:
    body = source.random.choice((b"", b" ", b"\r\n\r\n", b"\xef\xbb\xbf", b"[]", b" [ ] ", b"\t\n"))
    media_type = JSON if b"[" in body else source.random.choice((JSON, NDJSON))
    return refused(body, media_type, "empty_request")


@family
def wrong_encoding(source: Source) -> Post:
    """A single event in an encoding that is not UTF-8."""
    encoding = source.random.choice(("utf-16", "utf-16-le", "utf-32", "utf-7", "cp037"))
    body = valid(source).raw.decode().encode(encoding)
    body = body if body[:1] != b"{" or b"\x00" in body[:4] else b"\xff" + body
    return refused(body, JSON, "invalid_json", "invalid_envelope", "all_events_refused")


@bulky_family
def too_many(source: Source) -> Post:
    """More events, or more lines, than a request may have."""
    count = _MAX_REQUEST_EVENTS + 1
    variants = (
        (b"[" + b"{}," * (count - 1) + b"{}]", JSON),
        (b"{}\n" * count, NDJSON),
        (b"\n" * (2 * _MAX_REQUEST_EVENTS + 1), NDJSON),
        (b"[" + b"0," * 3_000_000 + b"0]", JSON),
    )
    body, media_type = source.random.choice(variants)
    return refused(body, media_type, "too_many_events")


@bulky_family
def brim_full(source: Source) -> Post:
    """As many events as a request may have, most of them nonsense, few of them good."""
    good = several(source, most=20)
    filler = [becomes(source.random.choice((b"{}", b"0", b'""', b"null")), "invalid_envelope")] * (
        _MAX_REQUEST_EVENTS - len(good)
    )
    inputs = [*filler, *good]
    source.random.shuffle(inputs)
    return source.random.choice((ndjson, array))(inputs)


@family
def same_ids(source: Source) -> Post:
    """One id several times in a request, with the same content and with other content: one is stored."""
    draft = source.draft()
    inputs = [Input(draft.text(), frozenset({STORED}))] * source.random.randint(1, 3)
    inputs.append(Input(draft.set("customer_id", b'"somebody-else"').text(), frozenset({STORED})))
    inputs.append(Input(draft.set("extra", values.value(source.random)).text(), frozenset({STORED})))
    source.random.shuffle(inputs)
    inputs = [each for each in inputs if b"\n" not in each.raw]
    return source.random.choice((ndjson, array))(inputs)
