"""Families of whole requests on every route: odd paths, queries, methods, headers, and small JSON bodies."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

from fuzzing import values
from fuzzing.draft import Source, dumps
from fuzzing.wire import request_bytes

_LISTS = (
    "/v1/events",
    "/v1/signals",
    "/v1/search",
    "/v1/customers",
    "/v1/customers/customer-1/timeline",
    "/v1/rejected",
    "/v1/event-types",
)
_THINGS = ("/v1/events/", "/v1/signals/", "/v1/customers/", "/v1/rejected/")
_ROUTES = (
    *_LISTS,
    *(f"{path}x" for path in _THINGS),
    "/v1/rejected/replay",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
)
_PARAMETERS = (
    "limit",
    "cursor",
    "since",
    "until",
    "customer_id",
    "event_type",
    "signal_type",
    "min_score",
    "q",
    "trace_id",
    "code",
    "status",
    "sort",
    "unknown",
    "",
)
_ODD_BYTES = (
    b"%00",
    b"%",
    b"%zz",
    b"%ff",
    b"%ed%a0%80",
    b"%c0%80",
    b"%f4%90%80%80",
    b"+",
    b"%20",
    b"%2F",
    b"%252e",
    b"\xff",
    b"%F0%9F%98%80",
    b"..",
    b"//",
    b"%0d%0aX:y",
    b"~",
    b"'",
    b"%22",
    b"*",
    b"%E2%80%AE",
)


@dataclass(frozen=True)
class Call:
    """A request; `allowed` are the statuses that may come back, all documented ones if it is empty.

    `changes` marks a change of a customer: once it is answered with 202, its event must be stored.
    """

    request: bytes
    allowed: frozenset[int] = frozenset()
    changes: bool = False


Draw = Callable[[Source, str], Call]

REQUEST_FAMILIES: dict[str, Draw] = {}
"""Every family by its name; they are given the key to send."""


def request_family(draw: Draw) -> Draw:
    REQUEST_FAMILIES[draw.__name__] = draw
    return draw


def _bearer(key: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {key}")


def _get(key: str, target: bytes | str, *statuses: int) -> Call:
    return Call(request_bytes("GET", target, (_bearer(key),)), frozenset(statuses))


def _query(pairs: list[tuple[str, str]]) -> str:
    return "?" + "&".join(f"{quote(name)}={quote(text, safe='')}" for name, text in pairs)


@request_family
def queries(source: Source, key: str) -> Call:
    """Parameters with odd values, repeated and unknown ones."""
    odd: tuple[Callable[[Random], str], ...] = (
        values.text,
        lambda random: random.choice(
            (
                "0",
                "-1",
                "501",
                "1e3",
                "1.0",
                "\uff19",
                "true",
                "nan",
                "inf",
                "-inf",
                "1" * 400,
                "0x1",
                "1e-281",
                "-0",
                "5e-324",
            )
        ),
        lambda random: random.choice(values.GOOD_INSTANTS + values.BAD_INSTANTS),
        lambda random: random.choice(
            ("purchase", "revenue", "open", "score", "customer-1", "0.5", "1", "50", "2026-11-21")
        ),
    )
    pairs = [
        (source.random.choice(_PARAMETERS), source.random.choice(odd)(source.random))
        for _ in range(source.random.choice((1, 1, 2, 5)))
    ]
    return _get(key, source.random.choice(_LISTS) + _query(pairs), 200, 404, 422)


@request_family
def instants(source: Source, key: str) -> Call:
    """Every bound of a period that is an instant answers; every other is refused with its name."""
    good = source.chance(0.5)
    text = source.random.choice(values.GOOD_INSTANTS if good else values.BAD_INSTANTS)
    name = source.random.choice(("since", "until"))
    path = source.random.choice(("/v1/signals", "/v1/rejected", "/v1/customers/customer-1/timeline"))
    if not good and text == "2026-01-01":
        good = True  # a date is fine here
    return _get(key, path + _query([(name, text)]), *((200, 404) if good else (422,)))


@request_family
def raw_queries(source: Source, key: str) -> Call:
    """Query strings of bytes that nobody encoded."""
    pieces = [
        source.random.choice((b"q=", b"limit=", b"&", b"=", b"cursor=", b"trace_id=", b";", *_ODD_BYTES))
        for _ in range(6)
    ]
    path = source.random.choice(_LISTS).encode()
    return _get(key, path + b"?" + b"".join(pieces), 200, 400, 404, 422)


@request_family
def long_queries(source: Source, key: str) -> Call:
    size = source.random.choice((1000, 8000, 60_000))
    name = source.random.choice(("q", "trace_id", "customer_id", "cursor", "event_type", "x" * 1000))
    many = source.chance(0.3)
    text = "&".join(["event_type=a"] * (size // 20)) if many else f"{name}={'a' * size}"
    return _get(key, f"{source.random.choice(_LISTS)}?{text}", 200, 404, 414, 422, 431)


@request_family
def cursors(source: Source, key: str) -> Call:
    """Cursors that are none, and some that were taken apart."""
    text = source.random.choice(
        (
            base64.urlsafe_b64encode(source.random.randbytes(source.random.randint(0, 60))).decode(),
            values.text(source.random),
            "A" * 5000,
            "=",
            "====",
            "é",
            "\ud7ff",
        )
    )
    path = source.random.choice(_LISTS)
    needed = [("trace_id", "trace-1")] if path == "/v1/events" else []
    return _get(key, path + _query([*needed, ("cursor", text)]), 422, *((200, 404) if text == "" else ()))


@request_family
def paths(source: Source, key: str) -> Call:
    """Ids and paths of odd bytes."""
    random = source.random
    tail = b"".join(
        random.choice((*_ODD_BYTES, b"a", b"1", b"/", b"timeline")) for _ in range(random.randint(0, 6))
    )
    prefix = random.choice((*_THINGS, "/", "/v1", "/v1/", "/V1/events/", "//v1/events", "/v1/events/../"))
    return _get(key, prefix.encode() + tail, 200, 400, 404, 405, 422)


@request_family
def ids(source: Source, key: str) -> Call:
    """Ids of any characters, well encoded, known or not."""
    known = (f"customer-{source.random.randrange(500)}", f"fuzz-1-{source.random.randrange(10_000)}")
    text = source.random.choice((*known, values.text(source.random), "x" * 5000))
    path = (
        source.random.choice(_THINGS)
        + quote(text, safe="")
        + source.random.choice(("", "", "/timeline", "/"))
    )
    return _get(key, path, 200, 404, 422)


@request_family
def searches(source: Source, key: str) -> Call:
    """The syntax of searches in odd combinations: nothing is an error, too much is refused."""
    random = source.random
    words = (
        "purchase",
        '"',
        "(",
        ")",
        "|",
        "+",
        "-",
        "*",
        "~",
        "~2",
        "\\",
        "^5",
        "AND",
        "customer-1",
        "a*",
        "-b",
        "field:x",
        "[1 TO 2]",
        "/re/",
        "&&",
        "||",
        "!",
        "{",
        "}",
        "<em>",
        "😀",
        "e\u0301",
        "\u200b",
        "0.5",
        "*" * 50,
    )
    text = random.choice(("", " ")).join(
        random.choice((*words, values.text(random))) for _ in range(random.choice((1, 3, 10, 60)))
    )
    return _get(key, "/v1/search" + _query([("q", text), ("limit", "5")]), 200, 422)


@request_family
def methods(source: Source, key: str) -> Call:
    """Every method on every route, also methods that nobody knows."""
    method = source.random.choice(
        ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "MKCOL")
    )
    return Call(
        request_bytes(
            method, source.random.choice(_ROUTES), (_bearer(key),), b"" if method == "POST" else None
        )
    )


@request_family
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
    path = random.choice((*_LISTS, "/v1/events/x", "/v1/customers/x"))
    return Call(request_bytes("GET", path, headers), frozenset({401}))


@request_family
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
    headers = [_bearer(key), *source.random.choices(odd, k=source.random.randint(1, 6))]
    return Call(
        request_bytes("GET", source.random.choice(_LISTS[1:]), headers), frozenset({200, 401, 404, 422})
    )


@request_family
def profile_changes(source: Source, key: str) -> Call:
    """PATCH bodies of any kind: what is answered with 202 must be stored."""
    random = source.random
    names = ("name", "email", "phone", "tags", "custom_fields")
    fields = {name: values.value(random) for name in names if source.chance(0.3)}
    if source.chance(0.5):
        member = random.choice(
            (
                values.number(random),
                values.value(random),
                b'"\\u0000"',
                values.nested(random, random.randint(1, 20)),
            )
        )
        fields["custom_fields"] = (
            b"{" + values.escaped(random, values.text(random) or "k") + b":" + member + b"}"
        )
    if source.chance(0.3):
        fields["name"] = random.choice(
            (b'"a\\u0000"', b'"\\ud800"', b'"Ada"', b"null", values.escaped(random, values.text(random)))
        )
    if source.chance(0.1):
        fields[random.choice(("unknown", "Name", ""))] = b"1"
    body = b"{" + b",".join(dumps(name) + b":" + text for name, text in fields.items()) + b"}"
    if source.chance(0.1):
        body = random.choice(
            (b"", b"[]", b"null", b"{", b'"x"', body[:-1], b"\xff", body + b"x", b"{}", b"[" * 9999)
        )
    media_type = random.choice(
        ("application/json", "application/merge-patch+json") if source.chance(0.95) else ("text/plain", "")
    )
    customer = quote(
        random.choice((f"customer-{random.randrange(500)}", values.text(random), "x" * 201)), safe=""
    )
    headers = (_bearer(key), ("content-type", media_type))
    request = request_bytes("PATCH", f"/v1/customers/{customer}", headers, body)
    return Call(request, frozenset({202, 405, 413, 415, 422}), changes=True)


@request_family
def replays(source: Source, key: str) -> Call:
    """Replay bodies of any kind that match no refusal, so that the books of the run stay right."""
    random = source.random
    nobody = '"00000000-0000-8000-8000-000000000000"'
    fields = {"ids": f"[{nobody}]", "limit": "1"}
    for name in ("ids", "code", "event_type", "since", "until", "limit", "unknown"):
        if source.chance(0.3):
            instant = json.dumps(random.choice(values.GOOD_INSTANTS + values.BAD_INSTANTS))
            fields[name] = random.choice(
                (values.value(random).decode(), instant, values.number(random).decode(), '"\\u0000"')
            )
    if fields["ids"].strip() == "null":
        fields["ids"] = f"[{nobody}]"
    body = ("{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in fields.items()) + "}").encode()
    if source.chance(0.1):
        body = random.choice(
            (b"[]", b"{", b'"x"', b"\xff", body + b"x", b"[" * 9999, body * 2, b" " * 70_000)
        )
    headers = (_bearer(key), ("content-type", "application/json"))
    return Call(request_bytes("POST", "/v1/rejected/replay", headers, body), frozenset({200, 413, 422}))
