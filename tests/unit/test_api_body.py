import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.body import read_body, split_events
from api.http.errors import ProblemError

LIMIT = 10_000


def read(*chunks: bytes, encoding: str = "", limit: int = LIMIT) -> bytes:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return asyncio.run(read_body(stream(), encoding=encoding, max_bytes=limit))


def refusal(*chunks: bytes, encoding: str = "", limit: int = LIMIT) -> tuple[int, str]:
    with pytest.raises(ProblemError) as caught:
        read(*chunks, encoding=encoding, limit=limit)
    return caught.value.status, caught.value.code


@given(st.binary(max_size=500), st.integers(1, 50))
def test_a_gzip_body_is_read_however_it_is_cut(body: bytes, size: int) -> None:
    packed = gzip.compress(body)
    chunks = [packed[start : start + size] for start in range(0, len(packed), size)]

    assert read(*chunks, encoding="gzip") == body


def test_a_gzip_body_of_several_members_is_read_whole() -> None:
    assert read(gzip.compress(b"a") + gzip.compress(b"b"), encoding="gzip") == b"ab"


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_a_plain_body_is_read_as_it_is(encoding: str) -> None:
    assert read(b"a", b"b", encoding=encoding) == b"ab"


def test_a_body_of_just_the_limit_is_accepted_and_one_byte_more_is_not() -> None:
    assert len(read(b"x" * LIMIT)) == LIMIT
    assert refusal(b"x" * LIMIT, b"x") == (413, "body_too_large")
    assert len(read(gzip.compress(b"x" * LIMIT), encoding="gzip")) == LIMIT
    assert refusal(gzip.compress(b"x" * (LIMIT + 1)), encoding="gzip") == (413, "body_too_large")


def test_a_gzip_bomb_is_refused_without_being_inflated() -> None:
    bomb = zlib.compress(b"\0" * 50_000_000, wbits=31)

    assert refusal(bomb, encoding="gzip", limit=100_000) == (413, "body_too_large")


@pytest.mark.parametrize(
    "body",
    [b"", b"not gzip", gzip.compress(b"x" * 1000)[:-9], gzip.compress(b"x") + b"junk"],
    ids=["empty", "plain", "cut", "junk"],
)
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    assert refusal(body, encoding="gzip") == (422, "invalid_gzip")


def test_an_unknown_encoding_is_refused() -> None:
    assert refusal(b"x", encoding="br") == (415, "unsupported_encoding")


def test_ndjson_lines_may_be_blank_and_may_end_in_crlf() -> None:
    texts, single = split_events(b'\n{"a":1}\r\n  \t\r\n\n{"b":2}', "application/x-ndjson", max_events=9)

    assert texts == [b'{"a":1}', b'{"b":2}']
    assert not single


@pytest.mark.parametrize("count", [1, 8, 9])
def test_an_array_of_up_to_the_limit_is_cut_whatever_commas_its_items_hold(count: int) -> None:
    texts, _ = split_events(json.dumps([[1, 2, 3]] * count).encode(), "application/json", max_events=9)

    assert texts == [b"[1, 2, 3]"] * count


def test_an_array_is_cut_into_the_texts_of_its_items() -> None:
    texts, single = split_events(b' [ {"a": 1.10} , 2,"x" ]', "application/json", max_events=9)

    assert [bytes(text) for text in texts] == [b'{"a": 1.10}', b"2", b'"x"']
    assert not single


def test_an_object_is_one_event_and_keeps_its_text() -> None:
    assert split_events(b'\xef\xbb\xbf\n{ "a": 1 }\n', "application/json", max_events=9) == (
        [b'{ "a": 1 }'],
        True,
    )


@pytest.mark.parametrize("media_type", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize("body", [b"", b"  \r\n", b"\xef\xbb\xbf"])
def test_an_empty_body_holds_no_event(body: bytes, media_type: str) -> None:
    assert split_events(body, media_type, max_events=9)[0] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"[1,", "invalid_json"), (b'["\xff"]', "invalid_json"), (b"[" * 100_000, "nesting_too_deep")],
)
def test_an_array_that_cannot_be_cut_is_refused(body: bytes, code: str) -> None:
    try:
        texts, _ = split_events(body, "application/json", max_events=9)
    except ProblemError as problem:
        assert (problem.status, problem.code) == (422, code)
    else:
        # Invalid UTF-8 within an item is found with the item, and costs its neighbours nothing.
        assert code == "invalid_json"
        assert texts == [b'"\xff"']


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"1\n" * 10, "application/x-ndjson"),
        (b"\n" * 16_000_000, "application/x-ndjson"),
        (b"[" + b"1," * 9 + b"1]", "application/json"),
        (b"[" + b"1," * 9 + b"1", "application/json"),
        (b"[" + b"1," * 8_000_000 + b"1]", "application/json"),
    ],
    ids=["lines", "blank lines", "items", "items without end", "millions of items"],
)
def test_more_events_than_allowed_are_refused(body: bytes, media_type: str) -> None:
    with pytest.raises(ProblemError) as caught:
        split_events(body, media_type, max_events=9)
    assert (caught.value.status, caught.value.code) == (413, "too_many_events")
