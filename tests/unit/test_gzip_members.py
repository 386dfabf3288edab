"""A gzip body may consist of several members, but not of so many that finding their ends keeps others waiting."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest

from api.http.body import read_body
from api.http.errors import ProblemError

MOST = 1_000


def read(packed: bytes, chunk_bytes: int) -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(packed), chunk_bytes):
            yield packed[start : start + chunk_bytes]

    return asyncio.run(read_body(chunks(), encoding="gzip", max_bytes=16 * 1024 * 1024))


@pytest.mark.parametrize("chunk_bytes", [64 * 1024, 7])
@pytest.mark.parametrize("content", [b"", b"ab"])
def test_so_many_members_are_read_and_no_more(content: bytes, chunk_bytes: int) -> None:
    member = gzip.compress(content)

    assert read(MOST * member, chunk_bytes) == MOST * content
    with pytest.raises(ProblemError, match="members") as refused:
        read((MOST + 1) * member, chunk_bytes)
    assert (refused.value.status, refused.value.code) == (422, "invalid_gzip")


def test_what_bgzip_makes_of_the_largest_body_is_read() -> None:
    block = 65_280 * b"x"  # as it cuts them

    assert len(read(257 * gzip.compress(block), 64 * 1024)) == 257 * len(block)
