"""Families of request bodies for POST /v1/events: how events are put together, encoded and declared."""

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fuzzing import values
from fuzzing.draft import STORED, Input, Source, becomes
from fuzzing.event_texts import not_json, valid
from fuzzing.wire import request_bytes

ACCEPTED = "accepted"
JSON, NDJSON = "application/json", "application/x-ndjson"

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_REQUEST_EVENTS = 10_000


@dataclass(frozen=True)
class Post:
    """A request with events, in order; `allowed` holds `ACCEPTED` or codes, and is empty where nobody can tell."""

    body: bytes
    media_type: str
    events: Sequence[Input]
    allowed: frozenset[str]
    headers: tuple[tuple[str, str], ...] = ()

    def request(self, key: str) -> bytes:
        own = (("authorization", f"Bearer {key}"), ("content-type", self.media_type))
        return request_bytes("POST", "/v1/events", (*own, *self.headers), self.body)


Body = Callable[[Source], Post]

BODY_FAMILIES: dict[str, Body] = {}
"""Every family by its name."""


def body_family(draw: Body) -> Body:
    BODY_FAMILIES[draw.__name__] = draw
    return draw


def ndjson(inputs: Sequence[Input]) -> Post:
    """The plainest body there is: one event a line."""
    return Post(
        b"\n".join(each.raw for each in inputs), NDJSON, inputs, frozenset({ACCEPTED, "all_events_refused"})
    )


def array(inputs: Sequence[Input]) -> Post:
    body = b"[" + b",".join(each.raw for each in inputs) + b"]"
    return Post(body, JSON, inputs, frozenset({ACCEPTED, "all_events_refused"}))


def single(one: Input) -> Post:
    """One event alone; what is refused of it refuses the request."""
    if one.raw.lstrip().startswith(b"["):
        return ndjson([one])  # as a body it would be several events
    codes = {ACCEPTED} if one.allowed is None else {ACCEPTED, *one.allowed}
    return Post(one.raw, JSON, [one], frozenset(codes if one.allowed else ()))


def _neighbours(source: Source, most: int = 5) -> list[Input]:
    return [valid(source) for _ in range(source.random.randint(1, most))]


def _accepted(body: bytes, media_type: str, inputs: Sequence[Input], *headers: tuple[str, str]) -> Post:
    return Post(body, media_type, inputs, frozenset({ACCEPTED}), headers)


def _refused(body: bytes, media_type: str, *codes: str, headers: tuple[tuple[str, str], ...] = ()) -> Post:
    return Post(body, media_type, [], frozenset(codes), headers)


_GZIP = ("content-encoding", "gzip")


@body_family
def lines(source: Source) -> Post:
    """Blank lines, CRLF, white space around, with and without a last line's end, good and bad lines mixed."""
    inputs = [*_neighbours(source), not_json(source), *_neighbours(source)]
    source.random.shuffle(inputs)
    inputs = [each for each in inputs if b"\n" not in each.raw]
    ends = (b"\n", b"\r\n", b"\n\n", b"\r\n \t\r\n", b" \r\n")
    body = b"".join(each.raw + source.random.choice(ends) for each in inputs)
    prefix = source.random.choice((b"", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n \n"))
    kept = body if source.chance(0.5) else body.rstrip()
    return _accepted(
        prefix + kept, source.random.choice((NDJSON, "application/ndjson", "application/jsonl")), inputs
    )


@body_family
def spaced_array(source: Source) -> Post:
    inputs = _neighbours(source)
    comma = source.random.choice((b",", b" ,\n", b"\r\n,\t"))
    prefix = source.random.choice((b"", b"\xef\xbb\xbf", b" \n\t"))
    body = prefix + b"[ " + comma.join(each.raw for each in inputs) + b"\n] \n"
    return _accepted(body, JSON, inputs)


@body_family
def broken_array(source: Source) -> Post:
    """Arrays of good events that cannot be cut: refused as a whole."""
    whole = b"[" + b",".join(each.raw for each in _neighbours(source)) + b"]"
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
    return _refused(
        source.random.choice(breaks), JSON, "invalid_json", "all_events_refused", "invalid_envelope"
    )


@body_family
def nested_arrays(source: Source) -> Post:
    depth = source.random.choice((1, 100, 10_000, 1_000_000))
    closed = source.chance(0.5)
    body = b"[" * depth + (b"]" * depth if closed else b"")
    return _refused(body, JSON, "invalid_json", "nesting_too_deep", "all_events_refused", "empty_request")


@body_family
def empty(source: Source) -> Post:
    body = source.random.choice((b"", b" ", b"\r\n\r\n", b"\xef\xbb\xbf", b"[]", b" [ ] ", b"\t\n"))
    media_type = JSON if b"[" in body else source.random.choice((JSON, NDJSON))
    return _refused(body, media_type, "empty_request")


@body_family
def wrong_encoding(source: Source) -> Post:
    """A single event in an encoding that is not UTF-8."""
    encoding = source.random.choice(("utf-16", "utf-16-le", "utf-32", "utf-7", "cp037"))
    body = valid(source).raw.decode().encode(encoding)
    body = body if body[:1] != b"{" or b"\x00" in body[:4] else b"\xff" + body
    return _refused(body, JSON, "invalid_json", "invalid_envelope", "all_events_refused")


@body_family
def media_types(source: Source) -> Post:
    """Content types that are no JSON."""
    drawn = source.random.choice(
        (
            "",
            "text/plain",
            "application/xml",
            "multipart/form-data; boundary=x",
            "json",
            "*/*",
            "application/x-www-form-urlencoded",
            "application/json, text/plain",
            "é",
            "a/b/c",
            "application/vnd.api+json",
            "text/json",
            ";",
            "application/json\t",
            "x" * 5000,
        )
    )
    post = ndjson(_neighbours(source))
    allowed = frozenset({"unsupported_media_type"})
    if drawn.strip() == JSON:
        allowed |= {"invalid_json", "invalid_envelope", ACCEPTED}
    return Post(post.body, drawn, post.events if len(post.events) == 1 else (), allowed)


@body_family
def charsets(source: Source) -> Post:
    """Parameters of the content type: JSON is UTF-8, whatever they say."""
    parameter = source.random.choice(
        ("charset=utf-8", "charset=UTF-16", 'charset="', "charset=latin-1; q=1", "=", ";;;", "x" * 999)
    )
    post = array(_neighbours(source))
    return _accepted(
        post.body, source.random.choice((JSON, "Application/JSON")) + ";" + parameter, post.events
    )


@body_family
def zipped(source: Source) -> Post:
    """Good gzip: of one or several members, empty ones too, at any level."""
    post = ndjson(_neighbours(source))
    at = source.random.randint(0, len(post.body))
    members = (post.body[:at], post.body[at:]) if source.chance(0.5) else (post.body,)
    packed = b"".join(gzip.compress(each, source.random.choice((0, 1, 9))) for each in members)
    if source.chance(0.3):
        packed += gzip.compress(b"")
    name = source.random.choice(("gzip", "GZIP", "x-gzip", " gzip "))
    return _accepted(packed, NDJSON, post.events, ("content-encoding", name))


@body_family
def broken_gzip(source: Source) -> Post:
    """Cut off, with something after the end, with a wrong checksum, with a wrong length, or no gzip at all."""
    packed = gzip.compress(ndjson(_neighbours(source)).body)
    flipped = bytearray(packed)
    flipped[source.random.randrange(len(packed) - 8, len(packed))] ^= 1 << source.random.randrange(8)
    wrong_size = packed[:-4] + (1).to_bytes(4, "little")
    broken = (
        packed[: source.random.randint(0, len(packed) - 1)],
        packed + b"\x1f\x8b",
        packed + b"x",
        packed + b"\0" * 9,
        b"\x1f\x8b",
        bytes(flipped),
        wrong_size,
        zlib.compress(b"{}"),
        b"{}",
        b"",
    )
    return _refused(source.random.choice(broken), NDJSON, "invalid_gzip", headers=(_GZIP,))


@body_family
def bomb(source: Source) -> Post:
    """Small bodies that are large when unpacked, also gzip within gzip."""
    size = source.random.choice((MAX_BODY_BYTES + 1, 64 * 1024 * 1024))
    filler = source.random.choice((b" ", b"\n", b"0", b"["))
    packed = gzip.compress(filler * size, 1)
    if source.chance(0.3):
        packed = gzip.compress(packed)
        return _refused(packed, NDJSON, "all_events_refused", "invalid_json", headers=(_GZIP,))
    return _refused(packed, source.random.choice((JSON, NDJSON)), "body_too_large", headers=(_GZIP,))


@body_family
def encodings(source: Source) -> Post:
    """Encodings that are not known, and lists of encodings."""
    name = source.random.choice(
        (
            "br",
            "deflate",
            "zstd",
            "compress",
            "gzip, gzip",
            "gzip;q=1",
            "aws-chunked",
            "é",
            "x" * 3000,
            "identity, br",
        )
    )
    body = zlib.compress(valid(source).raw)
    return _refused(body, JSON, "unsupported_encoding", headers=(("content-encoding", name),))


@body_family
def preferences(source: Source) -> Post:
    post = ndjson(_neighbours(source))
    value = source.random.choice(
        (
            "return=minimal",
            "RETURN = minimal",
            "respond-async, return=minimal",
            "return=representation",
            "é",
            ",,;=",
        )
    )
    return _accepted(post.body, NDJSON, post.events, ("prefer", value))


@body_family
def too_large(source: Source) -> Post:
    """A body over the limit, declared or packed."""
    body = b"[" + b" " * (MAX_BODY_BYTES + source.random.choice((0, 1, 100_000))) + b"]"
    return _refused(body, JSON, "body_too_large")


@body_family
def too_many(source: Source) -> Post:
    """More events, or more lines, than a request may have."""
    count = MAX_REQUEST_EVENTS + 1
    variants = (
        (b"[" + b"{}," * (count - 1) + b"{}]", JSON),
        (b"{}\n" * count, NDJSON),
        (b"\n" * (2 * MAX_REQUEST_EVENTS + 1), NDJSON),
        (b"[" + b"0," * 3_000_000 + b"0]", JSON),
    )
    body, media_type = source.random.choice(variants)
    return _refused(body, media_type, "too_many_events")


@body_family
def brim_full(source: Source) -> Post:
    """As many events as a request may have, most of them nonsense, few of them good."""
    good = _neighbours(source, most=20)
    filler = [becomes(source.random.choice((b"{}", b"0", b'""', b"null")), "invalid_envelope")] * (
        MAX_REQUEST_EVENTS - len(good)
    )
    inputs = [*filler, *good]
    source.random.shuffle(inputs)
    return source.random.choice((ndjson, array))(inputs)


@body_family
def same_ids(source: Source) -> Post:
    """One id several times in a request, with the same content and with other content: one is stored."""
    draft = source.draft()
    inputs = [Input(draft.text(), frozenset({STORED}))] * source.random.randint(1, 3)
    inputs.append(Input(draft.set("customer_id", b'"somebody-else"').text(), frozenset({STORED})))
    inputs.append(Input(draft.set("extra", values.value(source.random)).text(), frozenset({STORED})))
    source.random.shuffle(inputs)
    inputs = [each for each in inputs if b"\n" not in each.raw]
    return source.random.choice((ndjson, array))(inputs)


BULKY = frozenset({"bomb", "too_large", "too_many", "brim_full", "nested_arrays"})
"""Families that are drawn seldom, as each input costs a large body."""
