"""What families of connections share: their table, and the pieces of requests byte by byte."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fuzzing.draft import Input, Source
from fuzzing.event_texts import valid
from fuzzing.families import Families

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


CONNECTION_FAMILIES: Families[Callable[[Source, str], Stream]] = Families()
"""They are given the key to send."""
family = CONNECTION_FAMILIES.family


def head(key: str, *lines: bytes, start: bytes = b"POST /v1/events HTTP/1.1") -> bytes:
    own = (
        start,
        b"host: fuzz",
        b"authorization: Bearer " + key.encode(),
        b"content-type: application/x-ndjson",
    )
    return b"\r\n".join((*own, *lines)) + b"\r\n\r\n"


def three_lines(source: Source) -> tuple[list[Input], bytes]:
    """Good events, and a body of them."""
    inputs = [valid(source) for _ in range(3)]
    return inputs, b"\n".join(each.raw for each in inputs)


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x" % len(data) + extension + b"\r\n" + data + b"\r\n"
