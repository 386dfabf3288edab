"""Matching a month's signals with the documents of its index, both of them read from the newest to the oldest.

The index knows received_at to the millisecond, PostgreSQL to the microsecond: within a millisecond the two orders need
not agree. So what is of one millisecond is held until it meets its other side; what did not when it is over is suspect.
"""

import heapq
import json
import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from common.search.documents import DOCUMENT_VERSION, SignalRow, document
from infrastructure.search.indexed import IndexedDocument

_MOST_HELD = 5_000  # if more of one millisecond have not met their other side, all of these are suspect

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Suspect(NamedTuple):
    """The id of what seems to differ: of a signal that is `stored` in PostgreSQL, or else of a document."""

    id: str
    stored: bool


class _Entry(NamedTuple):
    """What one side has: when it was received, in milliseconds since 1970, under which id, and the thing itself."""

    milliseconds: int
    id: str
    found: SignalRow | IndexedDocument


def find_suspects(
    rows: Iterable[SignalRow], documents: Iterable[tuple[int, IndexedDocument]]
) -> Iterator[Suspect]:
    """Yield what seems to be missing, stale or too much. It may be neither: that takes another look.

    An id comes at most once as a signal and once as a document; as both, if the two are not of one millisecond.

    Args:
        rows: the signals of a month in descending order of received_at and id.
        documents: those of its index with their received_at in milliseconds since 1970, in descending order of it.
    """
    stored: dict[str, SignalRow] = {}
    indexed: dict[str, IndexedDocument] = {}
    for _, of_one_millisecond in groupby(_merged(rows, documents), key=attrgetter("milliseconds")):
        for _, each, found in of_one_millisecond:
            if isinstance(found, SignalRow):
                stored[each] = found
            else:
                indexed[each] = found
            if each in stored and each in indexed:
                if differing_fields(stored.pop(each), indexed.pop(each)):
                    yield Suspect(each, stored=True)
            elif len(stored) + len(indexed) >= _MOST_HELD:
                yield from _taken(stored, indexed)
        yield from _taken(stored, indexed)


def differing_fields(row: SignalRow, found: IndexedDocument) -> list[str]:
    """The fields in which `found` is not what would be written for `row`; ``version`` if only that differs.

    Numbers count as equal if they are the same as doubles: servers may keep them as such.
    """
    expected = json.loads(document(row).source, parse_int=float)
    fields = sorted(
        name
        for name in expected.keys() | found.source.keys()
        if name not in expected or name not in found.source or not _equal(expected[name], found.source[name])
    )
    return fields or (["version"] if found.version != DOCUMENT_VERSION else [])


def _merged(rows: Iterable[SignalRow], documents: Iterable[tuple[int, IndexedDocument]]) -> Iterator[_Entry]:
    stored = (_Entry(_milliseconds(row.received_at), row.signal_id, row) for row in rows)
    indexed = (_Entry(milliseconds, found.id, found) for milliseconds, found in documents)
    return heapq.merge(stored, indexed, key=attrgetter("milliseconds", "id"), reverse=True)


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLISECOND


def _taken(stored: dict[str, SignalRow], indexed: dict[str, IndexedDocument]) -> Iterator[Suspect]:
    """Take out all that is held."""
    yield from [Suspect(each, stored=True) for each in stored]
    yield from [Suspect(each, stored=False) for each in indexed]
    stored.clear()
    indexed.clear()


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return _double(one) == _double(other)
    return bool(one == other)


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer of hundreds of digits
        return math.copysign(math.inf, number)
