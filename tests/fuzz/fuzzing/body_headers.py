"""Families of bodies by what headers say of them: media types, encodings, sizes, and how to answer."""

import gzip
import zlib

from fuzzing.draft import Source
from fuzzing.event_texts import valid
from fuzzing.posts import (
    ACCEPTED,
    JSON,
    NDJSON,
    Post,
    accepted,
    array,
    bulky_family,
    family,
    ndjson,
    refused,
    several,
)

_GZIP = ("content-encoding", "gzip")
_MAX_BODY_BYTES = 16 * 1024 * 1024
_MEDIA_TYPES = (
    "", "text/plain", "application/xml", "multipart/form-data; boundary=x", "json", "*/*",
    "application/x-www-form-urlencoded", "application/json, text/plain", "é", "a/b/c",
    "application/vnd.api+json", "text/json", ";", "application/json\t", "x" * 5000,
)  # fmt: skip
_ENCODINGS = (
    "br", "deflate", "zstd", "compress", "gzip, gzip", "gzip;q=1", "aws-chunked", "é", "x" * 3000,
    "identity, br",
)  # fmt: skip


@family
def media_types(source: Source) -> Post:
    """Content types that are no JSON."""
    drawn = source.random.choice(_MEDIA_TYPES)
    post = ndjson(several(source))
    allowed = frozenset({"unsupported_media_type"})
    if drawn.strip() == JSON:
        allowed |= {"invalid_json", "invalid_envelope", ACCEPTED}
    return Post(post.body, drawn, post.events if len(post.events) == 1 else (), allowed)


@family
def charsets(source: Source) -> Post:
    """Parameters of the content type: JSON is UTF-8, whatever they say."""
    parameter = source.random.choice(
        ("charset=utf-8", "charset=UTF-16", 'charset="', "charset=latin-1; q=1", "=", ";;;", "x" * 999)
    )
    post = array(several(source))
    return accepted(
        post.body, source.random.choice((JSON, "Application/JSON")) + ";" + parameter, post.events
    )


@family
def zipped(source: Source) -> Post:
    """Good gzip: of one or several members, empty ones too, at any level."""
    post = ndjson(several(source))
    at = source.random.randint(0, len(post.body))
    members = (post.body[:at], post.body[at:]) if source.chance(0.5) else (post.body,)
    packed = b"".join(gzip.compress(each, source.random.choice((0, 1, 9))) for each in members)
    if source.chance(0.3):
        packed += gzip.compress(b"")
    name = source.random.choice(("gzip", "GZIP", "x-gzip", " gzip "))
    return accepted(packed, NDJSON, post.events, ("content-encoding", name))


@family
def broken_gzip(source: Source) -> Post:
    """Cut off, with something after the end, with a wrong checksum, with a wrong length, or no gzip at all."""
    packed = gzip.compress(ndjson(several(source)).body)
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
    return refused(source.random.choice(broken), NDJSON, "invalid_gzip", headers=(_GZIP,))


@bulky_family
def bomb(source: Source) -> Post:
    """Small bodies that are large when unpacked, also gzip within gzip."""
    size = source.random.choice((_MAX_BODY_BYTES + 1, 64 * 1024 * 1024))
    filler = source.random.choice((b" ", b"\n", b"0", b"["))
    packed = gzip.compress(filler * size, 1)
    if source.chance(0.3):
        packed = gzip.compress(packed)
        return refused(packed, NDJSON, "all_events_refused", "invalid_json", headers=(_GZIP,))
    return refused(packed, source.random.choice((JSON, NDJSON)), "body_too_large", headers=(_GZIP,))


@family
def encodings(source: Source) -> Post:
    """Encodings that are not known, and lists of encodings."""
    name = source.random.choice(_ENCODINGS)
    body = zlib.compress(valid(source).raw)
    return refused(body, JSON, "unsupported_encoding", headers=(("content-encoding", name),))


@family
def preferences(source: Source) -> Post:
    post = ndjson(several(source))
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
    return accepted(post.body, NDJSON, post.events, ("prefer", value))


@bulky_family
def too_large(source: Source) -> Post:
    """A body over the limit, declared or packed."""
    body = b"[" + b" " * (_MAX_BODY_BYTES + source.random.choice((0, 1, 100_000))) + b"]"
    return refused(body, JSON, "body_too_large")
