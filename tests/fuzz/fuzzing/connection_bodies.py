"""Families of connections whose body does not go by the rules: its chunks, its length, its pace, its end."""

import gzip

from fuzzing.draft import Source
from fuzzing.streams import CLOSED, Stream, chunk, family, head, three_lines

_BROKEN_CHUNKS = (
    b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"\r\n", b"0x5\r\nhello\r\n", b"5\r\nhelloworld\r\n",
    b"5 5\r\nhello\r\n", b"5\nhello\n", b"7fffffff\r\nshort", b"\x00\r\n", b"1;" + b"a" * 70_000,
)  # fmt: skip
_WRONG_LENGTHS = (
    b"content-length: -1", b"content-length: x", b"content-length: 1e3", b"content-length: " + b"9" * 40,
    b"content-length: 0x10", b"content-length: 5\r\ncontent-length: 6", b"content-length: 5, 6",
    b"content-length: ", b"content-length: +5", b"content-length: 5\r\ntransfer-encoding: chunked",
    b"transfer-encoding: gzip", b"transfer-encoding: chunked, identity", b"transfer-encoding : chunked",
    b"content-length : 5", b"content-length: 99999999999",
)  # fmt: skip


@family
def chunked(source: Source, key: str) -> Stream:
    """Well-formed chunks of any size, with extensions and trailers."""
    inputs, body = three_lines(source)
    size = source.random.choice((1, 7, 100, 10_000))
    extension = source.random.choice((b"", b";a=b", b";" + b"x" * 500))
    chunks = [chunk(body[at : at + size], extension) for at in range(0, len(body), size)]
    end = source.random.choice((b"0\r\n\r\n", b"0\r\nx-trailer: y\r\n\r\n", b"000\r\n\r\n"))
    pieces = [head(key, b"transfer-encoding: chunked"), *chunks, end]
    return Stream(pieces, frozenset({202, 400, CLOSED}), inputs)


@family
def broken_chunks(source: Source, key: str) -> Stream:
    """Sizes that are none, too large, negative; data that is longer or shorter than it says."""
    _, body = three_lines(source)
    first = source.random.choice(_BROKEN_CHUNKS)
    pieces = [head(key, b"transfer-encoding: chunked"), chunk(body), first]
    return Stream(pieces, frozenset({400, 408, CLOSED}), half_close=True)


@family
def wrong_length(source: Source, key: str) -> Stream:
    """Lengths that are no numbers, contradict each other, or come with chunks."""
    _, body = three_lines(source)
    line = source.random.choice(_WRONG_LENGTHS)
    return Stream(
        [head(key, line), body], frozenset({400, 408, 411, 413, 415, 422, 429, 501, CLOSED}), half_close=True
    )


@family
def ends_early(source: Source, key: str) -> Stream:
    """A body that is shorter than its length, then silence: nothing of it may count."""
    _, body = three_lines(source)
    cut = source.random.randrange(len(body))
    return Stream(
        [head(key, b"content-length: %d" % len(body)), body[:cut]],
        frozenset({400, 408, CLOSED}),
        half_close=True,
    )


@family
def late_rest(source: Source, key: str) -> Stream:
    """A body that is longer than its length: the rest is no request."""
    inputs, body = three_lines(source)
    rest = source.random.choice((b"\n{}", b"\x00" * 50, body, b"x"))
    return Stream(
        [head(key, b"content-length: %d" % len(body), b"connection: close"), body + rest],
        frozenset({202, 400}),
        inputs,
    )


@family
def slow(source: Source, key: str) -> Stream:
    """Heads and bodies that drip in, a byte or a few at a time."""
    inputs, body = three_lines(source)
    whole = head(key, b"content-length: %d" % len(body)) + body
    size = len(whole) // source.random.choice((5, 20))
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    return Stream(pieces, frozenset({202, 408, CLOSED}), inputs, pause_seconds=0.01)


@family
def stops_halfway(source: Source, key: str) -> Stream:
    """A head or a body of which the rest never comes."""
    _, body = three_lines(source)
    packed = gzip.compress(body)
    whole = head(key, b"content-encoding: gzip", b"content-length: %d" % (len(packed) + 1)) + packed
    return Stream(
        [whole[: source.random.randint(1, len(whole))]], frozenset({400, 408, CLOSED}), half_close=True
    )
