"""What goes with months that are archived, and what stays."""

import shutil
from datetime import timedelta
from threading import Event, Thread
from uuid import UUID

import psycopg
import pytest
from archiving import CUTOFF, DECEMBER, MONTH, NOW, TABLES, Months, store

from common.database.partitions import ensure_partitions
from infrastructure.archive.dropping import Dropped, drop_months
from infrastructure.archive.manifest import list_archives
from infrastructure.safekeeping.errors import StoreError


def test_identities_go_with_what_was_dropped_and_no_other(months: Months) -> None:
    kept = store(months.connection, NOW)

    dropped = months.drop()

    assert (set(dropped.partitions), dropped.rows["event_keys"]) == (MONTH, 7)
    assert months.connection.execute("SELECT event_key FROM event_keys").fetchall() == [(kept,)]
    assert months.count("events") == months.count("signals") == 1


def test_rows_in_default_are_archived_too(months: Months) -> None:
    store(months.connection, DECEMBER - timedelta(days=40))

    months.drop()

    assert months.archives()["events_2049_10"].content.lines == 1
    assert months.count("events") == 0


def test_a_month_that_came_back_is_archived_beside_the_first_one(months: Months) -> None:
    months.drop()
    store(months.connection, DECEMBER)
    ensure_partitions(months.connection, now=NOW, ahead=1)

    months.drop()

    found = [each for each in list_archives(months.store) if each.partition == "events_2049_12"]
    assert sorted(each.content.lines for each in found) == [1, 7]


def test_an_empty_month_is_dropped_without_an_archive(months: Months) -> None:
    for table in TABLES:
        months.connection.execute(f"DELETE FROM {table}")

    assert months.drop().partitions == dict.fromkeys(MONTH)
    assert months.archives() == {}


def test_writers_of_other_months_lose_nothing_and_do_not_fail(months: Months, database_url: str) -> None:
    stop, written = Event(), list[UUID]()

    def write() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not stop.is_set():
                written.append(store(connection, NOW))

    writer = Thread(target=write)
    writer.start()
    try:
        months.drop()
    finally:
        stop.set()
        writer.join()

    stored = {key for (key,) in months.connection.execute("SELECT event_key FROM events")}
    assert stored == set(written) != set()


def test_what_was_dropped_before_the_store_failed_is_known(months: Months) -> None:
    months.connection.execute("DELETE FROM api_logs")  # its partition is dropped without an archive
    dropped = Dropped()
    shutil.rmtree(months.folder)
    with pytest.raises(StoreError):
        drop_months(months.connection, dropped, now=NOW, cutoff=CUTOFF, keeper=months.keeper())

    assert dropped.partitions == {"api_logs_2049_12": None}
    assert months.names() == MONTH - {"api_logs_2049_12"}


def test_without_a_keeper_months_are_dropped_as_upkeep_does(months: Months) -> None:
    dropped = Dropped()
    drop_months(months.connection, dropped, now=NOW, cutoff=CUTOFF)

    assert dropped.partitions == dict.fromkeys(MONTH)
    assert dropped.rows["event_keys"] == 7
