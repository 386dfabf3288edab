"""Monthly partitions: made ahead, and emptied out of DEFAULT."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import psycopg
import pytest
from months import NOW, Connection, home_of, store
from patience import PATIENCE_SECONDS

from common.database import partitions
from common.database.partitions import TABLES, default_rows, ensure_partitions, list_partitions, month_start
from common.errors import DatabaseUnavailableError


def test_months_are_those_of_utc_and_cross_years() -> None:
    tokyo = timezone(timedelta(hours=9))

    assert month_start(datetime(2050, 1, 1, 8, tzinfo=tokyo)) == datetime(2049, 12, 1, tzinfo=UTC)
    assert month_start(NOW, -1) == datetime(2049, 12, 1, tzinfo=UTC)
    assert month_start(NOW, 11) == datetime(2050, 12, 1, tzinfo=UTC)
    assert month_start(NOW, -13) == datetime(2048, 12, 1, tzinfo=UTC)


def test_partitions_reach_from_the_previous_month_to_the_months_ahead(connection: Connection) -> None:
    created = ensure_partitions(connection, now=NOW, ahead=2)

    assert created == [
        f"{table}_{month}" for table in TABLES for month in ("2049_12", "2050_01", "2050_02", "2050_03")
    ]
    assert ensure_partitions(connection, now=NOW, ahead=2) == []
    key = store(connection, NOW)
    assert home_of(connection, "events", key) == "events_2050_01"
    assert home_of(connection, "signals", key) == "signals_2050_01"


def test_a_partition_is_indexed_like_its_parent(connection: Connection) -> None:
    ensure_partitions(connection, now=NOW, ahead=1)

    unmatched = connection.execute("""
        SELECT indexrelid::regclass FROM pg_index
        WHERE indrelid = 'signals_2050_01'::regclass
          AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = indexrelid)
    """).fetchall()
    assert unmatched == []


def test_listing_tells_bounds_and_sizes(connection: Connection) -> None:
    ensure_partitions(connection, now=NOW, ahead=1)

    listed = {partition.name: partition for partition in list_partitions(connection)}

    january = listed["events_2050_01"]
    assert (january.table, january.starts, january.ends) == ("events", month_start(NOW), month_start(NOW, 1))
    assert january.size_bytes > 0
    assert listed["events_default"].starts is None


def test_rows_are_estimated_from_the_last_count_and_the_growth_since(connection: Connection) -> None:
    ensure_partitions(connection, now=NOW, ahead=1)
    connection.execute("ALTER TABLE api_logs_2050_01 SET (autovacuum_enabled = off)")
    add = (
        "INSERT INTO api_logs (received_at, tenant_id, method, route, status, duration_ms, request_id)"
        " SELECT %s, 7, 'GET', '/', 200, 0.1, n FROM generate_series(1, 5000) AS n"
    )

    def estimate() -> int | None:
        listed = {partition.name: partition for partition in list_partitions(connection)}
        return listed["api_logs_2050_01"].row_estimate

    assert estimate() == 0
    connection.execute(add, [NOW])
    assert estimate() is None
    connection.execute("ANALYZE api_logs")
    assert estimate() == 5000
    connection.execute(add, [NOW])
    assert estimate() == pytest.approx(10_000, rel=0.05)


def test_nothing_fails_when_a_partition_is_missing_and_its_rows_move_in_later(connection: Connection) -> None:
    early, here = store(connection, month_start(NOW)), store(connection, NOW)
    stray = store(connection, datetime(2060, 7, 1, tzinfo=UTC))
    assert default_rows(connection) == dict.fromkeys(TABLES, 0) | {"events": 3, "signals": 3}

    created = ensure_partitions(connection, now=NOW, ahead=1)

    assert "events_2060_07" in created
    assert default_rows(connection) == dict.fromkeys(TABLES, 0)
    assert home_of(connection, "events", early) == home_of(connection, "events", here) == "events_2050_01"
    assert home_of(connection, "signals", stray) == "signals_2060_07"


def test_several_makers_at_once_make_each_partition_once(database_url: str) -> None:
    def run(_: int) -> list[str]:
        with psycopg.connect(database_url) as connection:
            return ensure_partitions(connection, now=NOW, ahead=3)

    with ThreadPoolExecutor(4) as pool:
        created = [name for names in pool.map(run, range(4)) for name in names]

    assert len(created) == len(set(created)) == 5 * len(TABLES)


def test_writers_lose_nothing_while_partitions_come_into_being(database_url: str) -> None:
    stop = threading.Event()

    def write() -> list[UUID]:
        keys: list[UUID] = []
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not stop.is_set():
                keys.append(store(connection, month_start(NOW, len(keys) % 5 - 1)))
        return keys

    with ThreadPoolExecutor(2) as pool, psycopg.connect(database_url, autocommit=True) as connection:
        earlier = {store(connection, month_start(NOW, offset)) for offset in range(-1, 4)}
        writers = [pool.submit(write) for _ in range(2)]
        try:
            ensure_partitions(connection, now=NOW, ahead=3)
        finally:
            stop.set()
        written = {key for writer in writers for key in writer.result(timeout=PATIENCE_SECONDS)}
        ensure_partitions(connection, now=NOW, ahead=3)
        stored = {key for (key,) in connection.execute("SELECT event_key FROM events")}

        assert stored == written | earlier
        assert default_rows(connection) == dict.fromkeys(TABLES, 0)


def test_a_table_that_stays_locked_is_a_passing_failure(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_ATTEMPTS", 2)
    monkeypatch.setattr(partitions, "_LOCK_TIMEOUT", "50ms")
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE events_default IN ACCESS SHARE MODE")

        with pytest.raises(DatabaseUnavailableError, match="stayed locked"):
            ensure_partitions(connection, now=NOW, ahead=1)

    assert len(ensure_partitions(connection, now=NOW, ahead=1)) == 3 * len(TABLES)


def test_the_callers_connection_keeps_its_mode(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        ensure_partitions(connection, now=NOW, ahead=1)

        assert connection.autocommit is False
