from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.search.documents import DOCUMENT_VERSION, SignalRow, source
from infrastructure.search import matching
from infrastructure.search.indexed import IndexedDocument
from infrastructure.search.matching import Suspect, find_suspects

NOVEMBER = datetime(2026, 11, 21, tzinfo=UTC)

# Which id, and how many microseconds after the same instant it was received.
Received = dict[int, int]
signals = st.dictionaries(st.integers(0, 99), st.integers(0, 3000), max_size=30)


def rows(received: Received) -> list[SignalRow]:
    """As PostgreSQL has them."""
    instants = {f"{each:02}": NOVEMBER + timedelta(microseconds=at) for each, at in received.items()}
    made = [
        SignalRow(1, each, "e", "purchase", "c", "revenue", 0.9, at, at, None, None, None, "{}")
        for each, at in instants.items()
    ]
    return sorted(made, key=lambda row: (row.received_at, row.signal_id), reverse=True)


def documents(stored: Iterable[SignalRow]) -> list[tuple[int, IndexedDocument]]:
    """As the index has them, which knows milliseconds."""
    made = [
        (
            int(row.received_at.timestamp()) * 1000 + row.received_at.microsecond // 1000,
            IndexedDocument(row.signal_id, DOCUMENT_VERSION, msgspec.json.decode(source(row))),
        )
        for row in stored
    ]
    return sorted(made, key=lambda each: (each[0], each[1].id), reverse=True)


def suspects(stored: Sequence[SignalRow], indexed: Sequence[SignalRow]) -> list[Suspect]:
    return list(find_suspects(stored, documents(indexed)))


@given(signals)
def test_what_is_equal_is_not_suspect_in_whatever_order_a_millisecond_comes(received: Received) -> None:
    assert suspects(rows(received), rows(received)) == []


@given(signals, signals)
def test_what_one_side_lacks_or_has_otherwise_is_suspect_and_nothing_else_is(
    one: Received, other: Received
) -> None:
    found = suspects(rows(one), rows(other))

    assert len(found) == len(set(found))
    differ = {f"{each:02}" for each in one.keys() | other.keys() if one.get(each) != other.get(each)}
    assert {suspect.id for suspect in found} == differ
    # Who has the signal answers for it, so that no difference is told twice.
    assert {suspect.id for suspect in found if suspect.stored} == {f"{each:02}" for each in one} & differ


@given(signals, st.data())
def test_with_little_memory_more_is_suspect_and_never_less(received: Received, data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.sampled_from(sorted(received)))) if received else set()
    kept = {each: at for each, at in received.items() if each not in lost}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "_MOST_HELD", 2)
        found = suspects(rows(received), rows(kept))

    assert {Suspect(f"{each:02}", stored=True) for each in lost} <= set(found)
    assert len(found) == len(set(found))
