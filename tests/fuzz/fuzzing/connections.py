"""Families of connections that break the rules of HTTP, or stretch them; each input is a connection of its own."""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fuzzing.draft import Input, Source
from fuzzing.event_texts import valid

CLOSED = 0
"""The server hangs up without an answer: fair towards who breaks the protocol."""


@dataclass(frozen=True)
class Stream:
    """Bytes to send piece by piece; `events` are acknowledged if the answer is 202."""

    pieces: Sequence[bytes]
    allowed: frozenset[int]
    events: Sequence[Input] = ()
    half_close: bool = False
    pause_seconds: float = 0.0


Draw = Callable[[Source, str], Stream]

CONNECTION_FAMILIES: dict[str, Draw] = {}
"""Every family by its name; they are given the key to send."""


def connection_family(draw: Draw) -> Draw:
    CONNECTION_FAMILIES[draw.__name__] = draw
    return draw


def _head(key: str, *lines: bytes, start: bytes = b"POST /v1/events HTTP/1.1") -> bytes:
    own = (
        start,
        b"host: fuzz",
        b"authorization: Bearer " + key.encode(),
        b"content-type: application/x-ndjson",
    )
    return b"\r\n".join((*own, *lines)) + b"\r\n\r\n"


def _body(source: Source) -> tuple[list[Input], bytes]:
    inputs = [valid(source) for _ in range(3)]
    return inputs, b"\n".join(each.raw for each in inputs)


def _chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x" % len(data) + extension + b"\r\n" + data + b"\r\n"


@connection_family
def chunked(source: Source, key: str) -> Stream:
    """Well-formed chunks of any size, with extensions and trailers."""
    inputs, body = _body(source)
    size = source.random.choice((1, 7, 100, 10_000))
    extension = source.random.choice((b"", b";a=b", b";" + b"x" * 500))
    chunks = [_chunk(body[at : at + size], extension) for at in range(0, len(body), size)]
    end = source.random.choice((b"0\r\n\r\n", b"0\r\nx-trailer: y\r\n\r\n", b"000\r\n\r\n"))
    pieces = [_head(key, b"transfer-encoding: chunked"), *chunks, end]
    return Stream(pieces, frozenset({202, 400, CLOSED}), inputs)


@connection_family
def broken_chunks(source: Source, key: str) -> Stream:
    """Sizes that are none, too large, negative; data that is longer or shorter than it says."""
    _, body = _body(source)
    first = source.random.choice(
        (
            b"zz\r\n",
            b"-1\r\n",
            b"ffffffffffffffffff\r\n",
            b"\r\n",
            b"0x5\r\nhello\r\n",
            b"5\r\nhelloworld\r\n",
            b"5 5\r\nhello\r\n",
            b"5\nhello\n",
            b"7fffffff\r\nshort",
            b"\x00\r\n",
            b"1;" + b"a" * 70_000,
        )
    )
    pieces = [_head(key, b"transfer-encoding: chunked"), _chunk(body), first]
    return Stream(pieces, frozenset({400, 408, CLOSED}), half_close=True)


@connection_family
def wrong_length(source: Source, key: str) -> Stream:
    """Lengths that are no numbers, contradict each other, or come with chunks."""
    _, body = _body(source)
    line = source.random.choice(
        (
            b"content-length: -1",
            b"content-length: x",
            b"content-length: 1e3",
            b"content-length: " + b"9" * 40,
            b"content-length: 0x10",
            b"content-length: 5\r\ncontent-length: 6",
            b"content-length: 5, 6",
            b"content-length: ",
            b"content-length: +5",
            b"content-length: 5\r\ntransfer-encoding: chunked",
            b"transfer-encoding: gzip",
            b"transfer-encoding: chunked, identity",
            b"transfer-encoding : chunked",
            b"content-length : 5",
            b"content-length: 99999999999",
        )
    )
    return Stream(
        [_head(key, line), body], frozenset({400, 408, 411, 413, 415, 422, 429, 501, CLOSED}), half_close=True
    )


@connection_family
def ends_early(source: Source, key: str) -> Stream:
    """A body that is shorter than its length, then silence: nothing of it may count."""
    _, body = _body(source)
    cut = source.random.randrange(len(body))
    return Stream(
        [_head(key, b"content-length: %d" % len(body)), body[:cut]],
        frozenset({400, 408, CLOSED}),
        half_close=True,
    )


@connection_family
def late_rest(source: Source, key: str) -> Stream:
    """A body that is longer than its length: the rest is no request."""
    inputs, body = _body(source)
    rest = source.random.choice((b"\n{}", b"\x00" * 50, body, b"x"))
    return Stream(
        [_head(key, b"content-length: %d" % len(body), b"connection: close"), body + rest],
        frozenset({202, 400}),
        inputs,
    )


@connection_family
def slow(source: Source, key: str) -> Stream:
    """Heads and bodies that drip in, a byte or a few at a time."""
    inputs, body = _body(source)
    whole = _head(key, b"content-length: %d" % len(body)) + body
    size = len(whole) // source.random.choice((5, 20))
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    return Stream(pieces, frozenset({202, 408, CLOSED}), inputs, pause_seconds=0.01)


@connection_family
def stops_halfway(source: Source, key: str) -> Stream:
    """A head or a body of which the rest never comes."""
    _, body = _body(source)
    packed = gzip.compress(body)
    whole = _head(key, b"content-encoding: gzip", b"content-length: %d" % (len(packed) + 1)) + packed
    return Stream(
        [whole[: source.random.randint(1, len(whole))]], frozenset({400, 408, CLOSED}), half_close=True
    )


@connection_family
def huge_headers(source: Source, key: str) -> Stream:
    """Headers without end: one long value, one long name, or many."""
    size = source.random.choice((70_000, 1_000_000, 8_000_000))
    flood = source.random.choice(
        (b"x: " + b"a" * size, b"x" * size + b": y", b"\r\n".join([b"a: b"] * (size // 2)))
    )
    return Stream([_head(key, flood, start=b"GET /v1/signals HTTP/1.1")], frozenset({400, 431, CLOSED}))


@connection_family
def huge_target(source: Source, key: str) -> Stream:
    size = source.random.choice((70_000, 1_000_000, 8_000_000))
    start = b"GET /v1/signals" + source.random.choice((b"?q=", b"/")) + b"a" * size + b" HTTP/1.1"
    return Stream([_head(key, start=start)], frozenset({400, 414, 431, CLOSED}))


@connection_family
def control_characters(source: Source, key: str) -> Stream:
    """Bytes in a head that have no place there."""
    odd = bytes((source.random.choice((*range(9), *range(11, 13), *range(14, 32), 127)),))
    line = source.random.choice(
        (
            b"x-a: b" + odd,
            b"x" + odd + b"a: b",
            odd + b": b",
            b": no name",
            b"no colon",
            b" folded: x",
            b"x-a: b\nx: c",
        )
    )
    return Stream(
        [_head(key, line, start=b"GET /v1/event-types HTTP/1.1")],
        frozenset({200, 400, CLOSED}),
        half_close=True,
    )


@connection_family
def request_lines(source: Source, key: str) -> Stream:
    """First lines that are no first lines."""
    start = source.random.choice(
        (
            b"",
            b"GET",
            b"GET /",
            b"GET / HTTP/9.9",
            b"GET / HTTP/1.1 x",
            b"get /healthz HTTP/1.1",
            b"GET  /healthz HTTP/1.1",
            b"\x16\x03\x01\x02\x00",
            b"PRI * HTTP/2.0",
            b"GET /\x00 HTTP/1.1",
            b"GET \xff HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"CONNECT x:1 HTTP/1.1",
            b"GET healthz HTTP/1.1",
            b"GET http://[ HTTP/1.1",
            b"GET http://x:99999/ HTTP/1.1",
            b"GET //[/ HTTP/1.1",
            b"GET http://x/v1/signals HTTP/1.1",
            b"GET ?q HTTP/1.1",
            b"GET /healthz HTTP/1.0",
            b"GET /healthz#x HTTP/1.1",
            b"GET /v1/signals?a#b HTTP/1.1",
            b"EVIL /healthz HTTP/1.1",
            b"\r\n\r\nGET / HTTP/1.1",
        )
    )
    return Stream(
        [_head(key, start=start)], frozenset({200, 400, 401, 404, 405, 422, CLOSED}), half_close=True
    )


@connection_family
def upgrades(source: Source, key: str) -> Stream:
    """Wishes to speak something else, and expectations."""
    inputs, body = _body(source)
    wish = source.random.choice(
        (
            b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: x",
            b"connection: upgrade, HTTP2-Settings\r\nupgrade: h2c",
            b"upgrade: TLS/1.0",
            b"expect: 100-continue",
            b"expect: 200-ok",
            b"connection: close",
            b"connection: keep-alive, upgrade",
            b"keep-alive: timeout=99999",
        )
    )
    whole = _head(key, wish, b"content-length: %d" % len(body)) + body
    return Stream([whole], frozenset({202, 400, 403, 417, 422, 426}), inputs)


@connection_family
def noise(source: Source, key: str) -> Stream:
    """Bytes that are no request at all."""
    drawn = source.random.randbytes(source.random.choice((1, 20, 1000, 100_000)))
    return Stream([drawn], frozenset({400, 431, CLOSED}), half_close=True)
