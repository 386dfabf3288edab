"""Families of requests with odd queries: parameters, bounds of periods, cursors, and the syntax of searches."""

import base64
from collections.abc import Callable
from random import Random

from fuzzing import values
from fuzzing.calls import LISTS, ODD_BYTES, Call, family, get, query
from fuzzing.draft import Source

_PARAMETERS = (
    "limit", "cursor", "since", "until", "customer_id", "event_type", "signal_type", "min_score", "q",
    "trace_id", "code", "status", "sort", "unknown", "",
)  # fmt: skip
_ODD_WORDS = (
    "0", "-1", "501", "1e3", "1.0", "\uff19", "true", "nan", "inf", "-inf", "1" * 400, "0x1", "1e-281", "-0",
    "5e-324",
)  # fmt: skip
_SEARCH_WORDS = (
    "purchase", '"', "(", ")", "|", "+", "-", "*", "~", "~2", "\\", "^5", "AND", "customer-1", "a*", "-b",
    "field:x", "[1 TO 2]", "/re/", "&&", "||", "!", "{", "}", "<em>", "😀", "e\u0301", "\u200b", "0.5",
    "*" * 50,
)  # fmt: skip


@family
def queries(source: Source, key: str) -> Call:
    """Parameters with odd values, repeated and unknown ones."""
    odd: tuple[Callable[[Random], str], ...] = (
        values.text,
        lambda random: random.choice(_ODD_WORDS),
        lambda random: random.choice(values.GOOD_INSTANTS + values.BAD_INSTANTS),
        lambda random: random.choice(
            ("purchase", "revenue", "open", "score", "customer-1", "0.5", "1", "50", "2026-11-21")
        ),
    )
    pairs = [
        (source.random.choice(_PARAMETERS), source.random.choice(odd)(source.random))
        for _ in range(source.random.choice((1, 1, 2, 5)))
    ]
    return get(key, source.random.choice(LISTS) + query(pairs), 200, 404, 422)


@family
def instants(source: Source, key: str) -> Call:
    """Every bound of a period that is an instant answers; every other is refused with its name."""
    good = source.chance(0.5)
    text = source.random.choice(values.GOOD_INSTANTS if good else values.BAD_INSTANTS)
    name = source.random.choice(("since", "until"))
    path = source.random.choice(("/v1/signals", "/v1/rejected", "/v1/customers/customer-1/timeline"))
    if not good and text == "2026-01-01":
        good = True  # a date is fine here
    return get(key, path + query([(name, text)]), *((200, 404) if good else (422,)))


@family
def raw_queries(source: Source, key: str) -> Call:
    """Query strings of bytes that nobody encoded."""
    pieces = [
        source.random.choice((b"q=", b"limit=", b"&", b"=", b"cursor=", b"trace_id=", b";", *ODD_BYTES))
        for _ in range(6)
    ]
    path = source.random.choice(LISTS).encode()
    return get(key, path + b"?" + b"".join(pieces), 200, 400, 404, 422)


@family
def long_queries(source: Source, key: str) -> Call:
    size = source.random.choice((1000, 8000, 60_000))
    name = source.random.choice(("q", "trace_id", "customer_id", "cursor", "event_type", "x" * 1000))
    many = source.chance(0.3)
    text = "&".join(["event_type=a"] * (size // 20)) if many else f"{name}={'a' * size}"
    return get(key, f"{source.random.choice(LISTS)}?{text}", 200, 404, 414, 422, 431)


@family
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
    path = source.random.choice(LISTS)
    needed = [("trace_id", "trace-1")] if path == "/v1/events" else []
    return get(key, path + query([*needed, ("cursor", text)]), 422, *((200, 404) if text == "" else ()))


@family
def searches(source: Source, key: str) -> Call:
    """The syntax of searches in odd combinations: nothing is an error, too much is refused."""
    random = source.random
    text = random.choice(("", " ")).join(
        random.choice((*_SEARCH_WORDS, values.text(random))) for _ in range(random.choice((1, 3, 10, 60)))
    )
    return get(key, "/v1/search" + query([("q", text), ("limit", "5")]), 200, 422)
