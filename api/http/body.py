"""Reads the body of an ingest request: decompression, limits, and the split into single events."""

import re
import zlib
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from functools import lru_cache

import msgspec

from api.http.errors import ProblemError

JSON_TYPES = frozenset({"application/json"})
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

BODY_ARRIVED = "sspp.body_arrived"
"""ASGI extension of a request whose body was there in full when it began: reading it waits for nobody."""

_MOST_MEMBERS = 1_000  # each costs time, however little is in it; bgzip makes 257 of 16 MiB, others one

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_BLANK = re.compile(rb"[ \t\r\n]*")
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def announced_bytes(headers: Mapping[str, str], max_bytes: int) -> int:
    """How many bytes the body has, as its Content-Length says; 0 without one.

    Raises:
        ProblemError: 413 ``body_too_large``, more than `max_bytes`: it need not be sent.
    """
    announced = int(headers.get("content-length", 0))
    if announced > max_bytes:
        raise _too_large(max_bytes)
    return announced


async def read_body(
    chunks: AsyncIterable[bytes],
    *,
    encoding: str,
    max_bytes: int,
    hold: Callable[[int], None] = lambda _size: None,
) -> bytes:
    """The whole body, decompressed, of at most `max_bytes` before and after decompression.

    Args:
        chunks: the body as it arrives.
        encoding: the request's Content-Encoding: empty, ``identity`` or ``gzip``.
        max_bytes: the limit, in bytes.
        hold: hears of each further bytes of the body that are held; what it raises ends the reading.

    Raises:
        ProblemError: 413 ``body_too_large``, 415 ``unsupported_encoding``, or 422 ``invalid_gzip``.
    """
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise ProblemError(
            415, "unsupported_encoding", f"Content-Encoding {encoding!r} is not known; use gzip or none"
        )
    inflate = _Gunzip(max_bytes) if encoding.endswith("gzip") else None
    body, received = bytearray(), 0
    async for chunk in chunks:
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        piece = inflate.feed(chunk) if inflate else chunk
        hold(len(piece))
        body += piece
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    if inflate:
        inflate.finish()
    return bytes(body)


def split_events(body: bytes, media_type: str, *, max_events: int) -> tuple[Sequence[bytes], bool]:
    """Cut a body into the JSON texts of its events, and say whether it was a single object.

    NDJSON lines may end in CRLF and may be blank; blank ones are skipped. White space around an event is not part
    of it. The texts of an array or a single object are not checked here beyond what finding their ends takes.
    Splitting takes some 30 milliseconds for 16 MiB of anything, however small the items are.

    Raises:
        ProblemError: 413 ``too_many_events`` for more than `max_events`, or 422 ``invalid_json`` if an array cannot
            be cut.
    """
    body = body.removeprefix(_BOM)
    if media_type in NDJSON_TYPES:
        # Millions of blank lines would cost seconds to look through; nobody needs more than they have events.
        if body.count(b"\n") > 2 * max_events:
            raise _too_many(f"more than {2 * max_events} lines", max_events)
        stripped = (line.strip(_SPACE) for line in body.split(b"\n"))
        return _bounded([line for line in stripped if line], max_events), False
    start = _BLANK.match(body).end()  # type: ignore[union-attr]  # the pattern matches the empty string too
    if body[start : start + 1] != b"[":
        return ([] if start == len(body) else [body.strip(_SPACE)]), True
    try:
        return _split_array(body, max_events), False
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(422, "invalid_json", f"the body is not valid JSON: {error}") from None
    except RecursionError:
        raise ProblemError(422, "nesting_too_deep", "the body nests objects and arrays too deeply") from None


def _split_array(body: bytes, max_events: int) -> list[bytes]:
    if body.count(b",") < max_events:
        return [bytes(item) for item in _decode_array(body)]
    # An array of one byte per item would cost seconds and a gigabyte to hold: stop at the first one too many.
    try:
        items = msgspec.structs.astuple(_array_of_at_most(max_events)(body))
    except msgspec.ValidationError:
        raise _too_many(f"more than {max_events} events", max_events) from None
    return [bytes(item) for item in items if item is not None]


@lru_cache(maxsize=1)
def _array_of_at_most(length: int) -> Callable[[bytes], msgspec.Struct]:
    """A decoder of arrays that gives up beyond `length` items: a struct whose fields are the items."""
    fields = [(f"item_{number}", msgspec.Raw, None) for number in range(length)]
    struct = msgspec.defstruct("Items", fields, array_like=True, forbid_unknown_fields=True)
    return msgspec.json.Decoder(struct).decode


def _bounded(events: list[bytes], max_events: int) -> list[bytes]:
    if len(events) > max_events:
        raise _too_many(f"{len(events)} events", max_events)
    return events


def _too_many(what: str, max_events: int) -> ProblemError:
    return ProblemError(
        413, "too_many_events", f"{what} in one request; at most {max_events} events are allowed, split them"
    )


class _Gunzip:
    """Incremental gzip decompression, of several members too, that never inflates beyond the limit."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._max_bytes = max_bytes
        self._members = 1
        self._stream = zlib.decompressobj(wbits=31)

    def feed(self, chunk: bytes) -> bytes:
        output = bytearray()
        while chunk:
            if self._stream.eof:
                self._begin_member()
            try:
                piece = self._stream.decompress(chunk, self._left + 1)
            except zlib.error as error:
                raise ProblemError(422, "invalid_gzip", f"the body is not valid gzip: {error}") from None
            self._left -= len(piece)
            if self._left < 0:
                raise _too_large(self._max_bytes)
            output += piece
            chunk = self._stream.unconsumed_tail or self._stream.unused_data
        return bytes(output)

    def _begin_member(self) -> None:
        if self._members == _MOST_MEMBERS:
            raise ProblemError(
                422,
                "invalid_gzip",
                f"the gzip body has more than {_MOST_MEMBERS} members; compress it as one",
            )
        self._members += 1
        self._stream = zlib.decompressobj(wbits=31)

    def finish(self) -> None:
        if not self._stream.eof:
            raise ProblemError(422, "invalid_gzip", "the gzip body ends too early; it was cut off on its way")


def _too_large(max_bytes: int) -> ProblemError:
    return ProblemError(
        413,
        "body_too_large",
        f"the body may have at most {max_bytes} bytes, also after decompression; split it",
    )
