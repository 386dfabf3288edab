"""Families of requests with odd heads: paths, ids in them, methods, keys and other headers."""

import base64
from urllib.parse import quote

from fuzzing import values
from fuzzing.calls import LISTS, ODD_BYTES, THINGS, Call, bearer, family, get
from fuzzing.draft import Source
from fuzzing.wire import request_bytes

_ROUTES = (
    *LISTS,
    *(f"{path}x" for path in THINGS),
    "/v1/rejected/replay",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
)


@family
def paths(source: Source, key: str) -> Call:
    """Ids and paths of odd bytes."""
    random = source.random
    tail = b"".join(
        random.choice((*ODD_BYTES, b"a", b"1", b"/", b"timeline")) for _ in range(random.randint(0, 6))
    )
    prefix = random.choice((*THINGS, "/", "/v1", "/v1/", "/V1/events/", "//v1/events", "/v1/events/../"))
    return get(key, prefix.encode() + tail, 200, 400, 404, 405, 422)


@family
def ids(source: Source, key: str) -> Call:
    """Ids of any characters, well encoded, known or not."""
    known = (f"customer-{source.random.randrange(500)}", f"fuzz-1-{source.random.randrange(10_000)}")
    text = source.random.choice((*known, values.text(source.random), "x" * 5000))
    path = (
        source.random.choice(THINGS) + quote(text, safe="") + source.random.choice(("", "", "/timeline", "/"))
    )
    return get(key, path, 200, 404, 422)


@family
def methods(source: Source, key: str) -> Call:
    """Every method on every route, also methods that nobody knows."""
    method = source.random.choice(
        ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "MKCOL")
    )
    return Call(
        request_bytes(
            method, source.random.choice(_ROUTES), (bearer(key),), b"" if method == "POST" else None
        )
    )


@family
def authorizations(source: Source, key: str) -> Call:
    """Keys that are missing, malformed, unknown, or nearly right."""
    random = source.random
    prefix, _, secret = key.rpartition("_")
    forms = (
        "",
        "Bearer",
        "Bearer ",
        "Basic " + base64.b64encode(key.encode()).decode(),
        f"Token {key}",
        key,
        f"Bearer {key}x",
        f"Bearer {key[:-1]}",
        f"Bearer {prefix}_{secret.swapcase()}",
        f"Bearer {key} {key}",
        "Bearer " + "x" * 7000,
        f"Bearer {prefix}_",
        "Bearer sspp__",
        "Bearer sspp_x_y",
        "Bearer é",
        "Bearer null",
        f"Bearer,{key}",
        "Bearer \x80",
    )
    headers = (
        [("authorization", random.choice(forms).encode("latin-1", "ignore"))] if source.chance(0.9) else []
    )
    path = random.choice((*LISTS, "/v1/events/x", "/v1/customers/x"))
    return Call(request_bytes("GET", path, headers), frozenset({401}))


@family
def repeated_headers(source: Source, key: str) -> Call:
    """Headers twice, with odd values, in odd spellings."""
    odd = (
        ("X-Request-ID", values.text(source.random).encode().translate(None, bytes(range(32)))),
        ("X-Request-ID", b"a" * 129),
        ("AUTHORIZATION", b"Bearer nothing"),
        ("accept", b"application/xml"),
        ("accept-encoding", b"br;q=x,,"),
        ("x-forwarded-for", b"' OR 1=1"),
        ("x-forwarded-proto", b"javascript"),
        ("cookie", b"a" * 4000),
        ("range", b"bytes=9-1"),
        ("if-none-match", b'"'),
        ("x-http-method-override", b"DELETE"),
        ("x" * 3000, b"y"),
        ("te", b"trailers"),
        ("host", b"\xff"),
    )
    headers = [bearer(key), *source.random.choices(odd, k=source.random.randint(1, 6))]
    return Call(
        request_bytes("GET", source.random.choice(LISTS[1:]), headers), frozenset({200, 401, 404, 422})
    )
