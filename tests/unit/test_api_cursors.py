"""Cursors: exact, opaque, and of one list only."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.cursors import decode_cursor, encode_cursor
from api.http.errors import ProblemError


class Position(NamedTuple):
    at: datetime
    key: UUID


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_position_comes_back_exactly(at: datetime, key: UUID) -> None:
    cursor = encode_cursor((at, key), ["list", 1])
    assert decode_cursor(cursor, ["list", 1], Position) == Position(at, key)
    assert all(character.isalnum() or character in "-_" for character in cursor)


@given(st.floats(allow_nan=False) | st.none(), st.text(st.characters(exclude_characters="\0")))
def test_a_heat_comes_back_exactly(heat: float | None, customer_id: str) -> None:
    cursor = encode_cursor((heat, customer_id.encode(errors="replace").decode()), [])
    found, _ = decode_cursor(cursor, [], tuple[float | None, str])
    assert found == heat


@given(st.text())
def test_nothing_else_is_taken_for_a_cursor(text: str) -> None:
    with pytest.raises(ProblemError) as caught:
        decode_cursor(text, ["list", 1], Position)
    assert (caught.value.status, caught.value.code) == (422, "invalid_request")


def test_a_changed_cursor_or_another_list_is_noticed() -> None:
    cursor = encode_cursor((datetime(2026, 11, 21, tzinfo=UTC), uuid4()), ["list", 1])
    for place in range(len(cursor) - 1):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        with pytest.raises(ProblemError):
            decode_cursor(changed, ["list", 1], Position)
    for scope in (["list", 2], ["other", 1], ["list", 1, "filter"]):
        with pytest.raises(ProblemError):
            decode_cursor(cursor, scope, Position)
