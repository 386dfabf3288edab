import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.loading import json_items
from infrastructure.loading.errors import LoadError
from infrastructure.loading.json_items import split_items

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def chunked(text: bytes, size: int) -> Callable[[], bytes]:
    pieces = iter([text[start : start + size] for start in range(0, len(text), size)])
    return lambda: next(pieces, b"")


@given(items=st.lists(VALUES, max_size=6), indent=st.sampled_from([None, 2]), ascii_=st.booleans())
def test_an_array_is_split_alike_wherever_its_chunks_end(
    items: list[object], indent: int | None, ascii_: bool
) -> None:
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_).encode()
    whole = list(split_items(chunked(text, len(text))))
    assert [json.loads(item) for item in whole] == items
    for size in (1, 2, 3, 7):
        assert list(split_items(chunked(text, size))) == whole


@given(cut=st.integers(1, 60))
def test_any_single_chunk_boundary_is_harmless(cut: int) -> None:
    text = b'\xef\xbb\xbf [ {"a":"\\\\\\"]},{[\\u00e9"} ,\r\n {"b":[[{}],"\xc3\xa9"]},1.50 ] '
    pieces = iter([text[:cut], text[cut:]])
    assert list(split_items(lambda: next(pieces, b""))) == [
        b'{"a":"\\\\\\"]},{[\\u00e9"}',
        b'{"b":[[{}],"\xc3\xa9"]}',
        b"1.50",
    ]


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_objects_one_after_another_are_split_too(size: int) -> None:
    text = b'\xef\xbb\xbf{"a": {\n"b": 1}}\n\n{"c": []} {}\n'
    assert list(split_items(chunked(text, size))) == [b'{"a": {\n"b": 1}}', b'{"c": []}', b"{}"]


@pytest.mark.parametrize("text", [b"[]", b" [ \n ] "])
def test_an_empty_array_has_no_items(text: bytes) -> None:
    assert list(split_items(chunked(text, 1))) == []


def test_numbers_keep_their_exact_text() -> None:
    text = b'[{"amount": 0.10000000000000000000000000000001},{"amount":1E+2}]'
    assert list(split_items(chunked(text, 5))) == [
        b'{"amount": 0.10000000000000000000000000000001}',
        b'{"amount":1E+2}',
    ]


def test_an_invalid_item_leaves_its_neighbours_alone() -> None:
    assert list(split_items(chunked(b'[{"a":1},{"b":},,nope,{"c":3}]', 4))) == [
        b'{"a":1}',
        b'{"b":}',
        b"",
        b"nope",
        b'{"c":3}',
    ]


@pytest.mark.parametrize("text", [b'[{"a":1},{"b"', b'[{"a":1},', b'{"a":1} {"b":', b'[{"a":1}] {"b":2}'])
def test_what_is_cut_off_or_follows_the_array_is_told_after_the_items(text: bytes) -> None:
    items = split_items(chunked(text, 3))
    assert next(items) == b'{"a":1}'
    with pytest.raises(LoadError):
        list(items)


def test_an_endless_item_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_items, "MAX_ITEM_BYTES", 100)
    with pytest.raises(LoadError, match="longer than 100 bytes"):
        list(split_items(lambda: b'{"a":"' + b"x" * 50))


def test_items_come_out_before_the_text_has_ended() -> None:
    reads = 0

    def read() -> bytes:
        nonlocal reads
        reads += 1
        return b"[" if reads == 1 else b'{"a":1},'

    items = split_items(read)
    assert [next(items) for _ in range(3)] == [b'{"a":1}'] * 3
    assert reads <= 5
