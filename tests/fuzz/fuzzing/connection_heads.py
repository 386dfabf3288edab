"""Families of connections whose head does not go by the rules, or is none."""

from fuzzing.draft import Source
from fuzzing.streams import CLOSED, Stream, family, head, three_lines

_REQUEST_LINES = (
    b"", b"GET", b"GET /", b"GET / HTTP/9.9", b"GET / HTTP/1.1 x", b"get /healthz HTTP/1.1",
    b"GET  /healthz HTTP/1.1", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0", b"GET /\x00 HTTP/1.1",
    b"GET \xff HTTP/1.1", b"OPTIONS * HTTP/1.1", b"CONNECT x:1 HTTP/1.1", b"GET healthz HTTP/1.1",
    b"GET http://[ HTTP/1.1", b"GET http://x:99999/ HTTP/1.1", b"GET //[/ HTTP/1.1",
    b"GET http://x/v1/signals HTTP/1.1", b"GET ?q HTTP/1.1", b"GET /healthz HTTP/1.0",
    b"GET /healthz#x HTTP/1.1", b"GET /v1/signals?a#b HTTP/1.1", b"EVIL /healthz HTTP/1.1",
    b"\r\n\r\nGET / HTTP/1.1",
)  # fmt: skip
_WISHES = (
    b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: x",
    b"connection: upgrade, HTTP2-Settings\r\nupgrade: h2c", b"upgrade: TLS/1.0", b"expect: 100-continue",
    b"expect: 200-ok", b"connection: close", b"connection: keep-alive, upgrade",
    b"keep-alive: timeout=99999",
)  # fmt: skip


@family
def huge_headers(source: Source, key: str) -> Stream:
    """Headers without end: one long value, one long name, or many."""
    size = source.random.choice((70_000, 1_000_000, 8_000_000))
    flood = source.random.choice(
        (b"x: " + b"a" * size, b"x" * size + b": y", b"\r\n".join([b"a: b"] * (size // 2)))
    )
    return Stream([head(key, flood, start=b"GET /v1/signals HTTP/1.1")], frozenset({400, 431, CLOSED}))


@family
def huge_target(source: Source, key: str) -> Stream:
    size = source.random.choice((70_000, 1_000_000, 8_000_000))
    start = b"GET /v1/signals" + source.random.choice((b"?q=", b"/")) + b"a" * size + b" HTTP/1.1"
    return Stream([head(key, start=start)], frozenset({400, 414, 431, CLOSED}))


@family
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
        [head(key, line, start=b"GET /v1/event-types HTTP/1.1")],
        frozenset({200, 400, CLOSED}),
        half_close=True,
    )


@family
def request_lines(source: Source, key: str) -> Stream:
    """First lines that are no first lines."""
    start = source.random.choice(_REQUEST_LINES)
    return Stream(
        [head(key, start=start)], frozenset({200, 400, 401, 404, 405, 422, CLOSED}), half_close=True
    )


@family
def upgrades(source: Source, key: str) -> Stream:
    """Wishes to speak something else, and expectations."""
    inputs, body = three_lines(source)
    wish = source.random.choice(_WISHES)
    whole = head(key, wish, b"content-length: %d" % len(body)) + body
    return Stream([whole], frozenset({202, 400, 403, 417, 422, 426}), inputs)


@family
def noise(source: Source, key: str) -> Stream:
    """Bytes that are no request at all."""
    drawn = source.random.randbytes(source.random.choice((1, 20, 1000, 100_000)))
    return Stream([drawn], frozenset({400, 431, CLOSED}), half_close=True)
