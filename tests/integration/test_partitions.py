"""Monthly partitions: made ahead, emptied out of DEFAULT, dropped when they expire."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from common.database import data_indexes, partitions
from common.database.data_indexes import build_closed_month_indexes
from common.database.partitions import (
    default_rows,
    drop_expired,
    ensure_partitions,
    list_partitions,
    month_start,
)
from common.errors import DatabaseUnavailableError

Connection = psycopg.Connection[tuple[Any, ...]]

# Far from the present, so that the months that the migration made are none of ours.
NOW = datetime(2050, 1, 31, 23, 30, tzinfo=UTC)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def store(connection: Connection, received_at: datetime) -> UUID:
    """One event with its key and its signal, received at that instant."""
    key = uuid4()
    row = {"key": key, "at": received_at}
    with connection.transaction():
        connection.execute("INSERT INTO event_keys VALUES (%(key)s, 1, %(at)s)", row)
        connection.execute(
            "INSERT INTO events VALUES (%(key)s, %(at)s, 1, 1, 'e', 't', 'c', %(at)s, NULL, '{}')", row
        )
        connection.execute(
            "INSERT INTO signals VALUES"
            " (%(key)s, %(at)s, 1, 'e', 't', 'c', 'intent', 0.5, %(at)s, NULL, NULL, NULL, '{}')",
            row,
        )
    return key


def names(connection: Connection) -> set[str]:
    return {partition.name for partition in list_partitions(connection)}


def home_of(connection: Connection, table: str, key: UUID) -> str | None:
    """The partition that holds the row."""
    column = "event_key" if table == "events" else "signal_id"
    row = connection.execute(
        f"SELECT tableoid::regclass::text FROM {table} WHERE {column} = %s", [key]
    ).fetchone()
    return row[0] if row else None


def test_months_are_those_of_utc_and_cross_years() -> None:
    tokyo = timezone(timedelta(hours=9))

    assert month_start(datetime(2050, 1, 1, 8, tzinfo=tokyo)) == datetime(2049, 12, 1, tzinfo=UTC)
    assert month_start(NOW, -1) == datetime(2049, 12, 1, tzinfo=UTC)
    assert month_start(NOW, 11) == datetime(2050, 12, 1, tzinfo=UTC)
    assert month_start(NOW, -13) == datetime(2048, 12, 1, tzinfo=UTC)


def test_partitions_reach_from_the_previous_month_to_the_months_ahead(connection: Connection) -> None:
    created = ensure_partitions(connection, now=NOW, ahead=2)

    assert created == [
        f"{table}_{month}"
        for table in ("events", "signals")
        for month in ("2049_12", "2050_01", "2050_02", "2050_03")
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


def test_nothing_fails_when_a_partition_is_missing_and_its_rows_move_in_later(connection: Connection) -> None:
    early, here = store(connection, month_start(NOW)), store(connection, NOW)
    stray = store(connection, datetime(2060, 7, 1, tzinfo=UTC))
    assert default_rows(connection) == {"events": 3, "signals": 3}

    created = ensure_partitions(connection, now=NOW, ahead=1)

    assert "events_2060_07" in created
    assert default_rows(connection) == {"events": 0, "signals": 0}
    assert home_of(connection, "events", early) == home_of(connection, "events", here) == "events_2050_01"
    assert home_of(connection, "signals", stray) == "signals_2060_07"


def test_several_makers_at_once_make_each_partition_once(database_url: str) -> None:
    def run(_: int) -> list[str]:
        with psycopg.connect(database_url) as connection:
            return ensure_partitions(connection, now=NOW, ahead=3)

    with ThreadPoolExecutor(4) as pool:
        created = [name for names in pool.map(run, range(4)) for name in names]

    assert len(created) == len(set(created)) == 10


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
        written = {key for writer in writers for key in writer.result(timeout=30)}
        ensure_partitions(connection, now=NOW, ahead=3)
        stored = {key for (key,) in connection.execute("SELECT event_key FROM events")}

        assert stored == written | earlier
        assert default_rows(connection) == {"events": 0, "signals": 0}


def test_a_table_that_stays_locked_is_a_passing_failure(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_ATTEMPTS", 2)
    monkeypatch.setattr(partitions, "_LOCK_TIMEOUT", "50ms")
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE events_default IN ACCESS SHARE MODE")

        with pytest.raises(DatabaseUnavailableError, match="stayed locked"):
            ensure_partitions(connection, now=NOW, ahead=1)

    assert len(ensure_partitions(connection, now=NOW, ahead=1)) == 6


def test_the_callers_connection_keeps_its_mode(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        ensure_partitions(connection, now=NOW, ahead=1)

        assert connection.autocommit is False


def test_expired_months_go_with_their_identities_and_refusals(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_DELETE_BATCH", 2)
    ensure_partitions(connection, now=month_start(NOW, -2), ahead=2)
    cutoff = month_start(NOW, -1)
    old = [store(connection, cutoff - timedelta(microseconds=1 + n)) for n in range(5)]
    kept = store(connection, cutoff)
    for age, received_at in (("old", old), ("new", cutoff)):
        at = cutoff - timedelta(days=1) if received_at is old else cutoff
        connection.execute(
            "INSERT INTO rejected_events VALUES"
            " (%s, 1, %s, 't', 'c', NULL, %s, now(), 'unknown_type', 'unknown', '', '{}')",
            [uuid4(), age, at],
        )

    expired = drop_expired(connection, now=NOW, retention_months=1)

    assert {"events_2049_11", "signals_2049_11"} <= set(expired.partitions)
    assert (expired.rows["event_keys"], expired.rows["rejected_events"]) == (5, 1)
    assert {"events_2049_12", "signals_2049_12"} <= names(connection)
    assert connection.execute("SELECT event_key FROM event_keys").fetchall() == [(kept,)]
    assert connection.execute("SELECT event_id FROM rejected_events").fetchall() == [("new",)]


def test_expired_rows_leave_default_too(connection: Connection) -> None:
    old, kept = store(connection, month_start(NOW, -5)), store(connection, NOW)

    drop_expired(connection, now=NOW, retention_months=2)

    assert home_of(connection, "events", old) is home_of(connection, "signals", old) is None
    assert home_of(connection, "events", kept) == "events_default"


def test_without_a_retention_everything_stays(connection: Connection) -> None:
    key, before = store(connection, datetime(1999, 1, 1, tzinfo=UTC)), names(connection)

    assert drop_expired(connection, now=NOW, retention_months=0).partitions == []

    assert names(connection) == before
    assert home_of(connection, "events", key) == "events_default"


def test_a_month_that_is_over_gets_its_data_index_once(connection: Connection) -> None:
    ensure_partitions(connection, now=NOW, ahead=1)

    built = build_closed_month_indexes(connection, NOW)

    assert "signals_2049_12_data_gin" in built
    assert "signals_2050_01_data_gin" not in built
    assert build_closed_month_indexes(connection, NOW) == []
    assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)


def test_an_index_that_a_killed_run_left_unfinished_is_built_anew(connection: Connection) -> None:
    ensure_partitions(connection, now=NOW, ahead=1)
    for _ in range(2):
        store(connection, month_start(NOW, -1))
    with pytest.raises(psycopg.errors.UniqueViolation):
        # Both rows are of tenant 1: this cannot succeed, and leaves an invalid index of that name.
        connection.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY signals_2049_12_data_gin ON signals_2049_12 (tenant_id)"
        )

    assert "signals_2049_12_data_gin" in build_closed_month_indexes(connection, NOW)

    definition = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE indexname = 'signals_2049_12_data_gin'"
    ).fetchone()
    assert definition is not None
    assert "USING gin (data jsonb_path_ops)" in definition[0]


def test_only_one_run_builds_indexes(database_url: str, connection: Connection) -> None:
    ensure_partitions(connection, now=NOW, ahead=1)
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [data_indexes._INDEX_LOCK])

        assert build_closed_month_indexes(connection, NOW) == []
