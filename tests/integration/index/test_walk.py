"""Walking a month of signals, page by page: what is read, and how PostgreSQL reads it."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from indexing import NOVEMBER, OCTOBER, SignalStore, month

from common.database.partitions import ensure_partitions
from common.database.queries import Queries
from common.search.generations import span_of
from infrastructure.search.stored import Position, StoredSignals

DECEMBER = NOVEMBER.replace(month=12, day=1, hour=0, minute=0)


@pytest.fixture
def stored(connection: psycopg.Connection) -> StoredSignals:
    return StoredSignals(connection)


@pytest.mark.parametrize("limit", [1, 3, 4, 100])
@pytest.mark.parametrize("partitioned", [False, True])
def test_each_signal_of_the_month_comes_once_the_newest_first(
    connection: psycopg.Connection, store: SignalStore, stored: StoredSignals, limit: int, partitioned: bool
) -> None:
    if partitioned:
        ensure_partitions(connection, now=NOVEMBER, ahead=1)
    first, last = DECEMBER - timedelta(days=30), DECEMBER - timedelta(microseconds=1)
    ids = [
        each
        for instant in (last, NOVEMBER, NOVEMBER - timedelta(microseconds=1), first)
        for each in reversed(store.add(4, received_at=instant))
    ]
    for other in (OCTOBER, first - timedelta(microseconds=1), DECEMBER):
        store.add(2, received_at=other)

    pages = list(stored.pages(month(NOVEMBER), limit))

    assert [row.signal_id for page in pages for row in page] == ids
    assert {len(page) for page in pages[:-1]} <= {limit}
    for number, page in enumerate(pages):
        through = Position(page[-1].received_at, page[-1].signal_id)
        assert list(stored.pages(month(NOVEMBER), limit, through=through)) == pages[number + 1 :]


def test_a_walk_ends_although_newer_signals_are_stored(store: SignalStore, stored: StoredSignals) -> None:
    ids = store.add(9)
    walked = []
    for number, page in enumerate(stored.pages(month(NOVEMBER), 2), start=1):
        walked += [row.signal_id for row in page]
        store.add(5, received_at=NOVEMBER + timedelta(microseconds=number))

    assert walked == ids[::-1]


@pytest.mark.parametrize(
    ("package", "file", "name"),
    [
        ("infrastructure.search", "stored.sql", "list_signals"),
        ("worker.index", "refill.sql", "refill_outbox"),
    ],
)
def test_a_page_is_read_from_the_primary_key_and_nothing_that_came_before_is(
    connection: psycopg.Connection, package: str, file: str, name: str
) -> None:
    # All of one instant: only the comparison of both columns leads to the place.
    ensure_partitions(connection, now=NOVEMBER, ahead=2)
    connection.execute(
        "INSERT INTO signals SELECT lpad(to_hex(n), 32, '0')::uuid, %s, 1, 'e', 'purchase', 'c', 'revenue', 0.9, %s,"
        " NULL, NULL, NULL, '{}' FROM generate_series(1, 20000) AS n",
        (NOVEMBER, NOVEMBER),
    )
    connection.execute("VACUUM ANALYZE signals")
    statement = getattr(Queries(package, file), name)
    page = {"limit": 100, "signals": 100, **span_of(month(NOVEMBER))}

    def scans(through: int) -> dict[str, Mapping[str, Any]]:
        place = {"through_at": NOVEMBER, "through_id": f"{through:032x}"}
        with connection.transaction(force_rollback=True):
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
            ((plans,),) = connection.execute(explain, page | place).fetchall()
        return {
            node["Relation Name"]: node
            for node in _nodes(plans[0]["Plan"])
            if node.get("Relation Name", "").startswith("signals")
        }

    early, late = scans(through=19_900), scans(through=200)

    assert "signals_2026_10" not in late
    month_scan = late.pop("signals_2026_11")
    assert (month_scan["Node Type"], month_scan["Scan Direction"]) == ("Index Scan", "Backward")
    assert month_scan["Index Name"] == "signals_2026_11_pkey"
    assert 100 <= month_scan["Actual Rows"] <= 101
    assert _blocks(month_scan) <= 2 * _blocks(early["signals_2026_11"])
    # It is looked for in later months too, which have nothing before this place: a block or two say so.
    assert all(scan["Actual Rows"] == 0 and _blocks(scan) <= 4 for scan in late.values())


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _blocks(node: Mapping[str, Any]) -> int:
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])
