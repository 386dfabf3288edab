"""Months that are archived before they are dropped: what is read back is what was there, whatever strikes."""

import gzip
import hashlib
import json
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from archiving import CUTOFF, DECEMBER, JANUARY, NOW, KeeperThatIsDisturbed, Months, store

from common.database.partitions import ensure_partitions
from infrastructure.archive.dropping import archiving_alone
from infrastructure.archive.errors import (
    ArchiveError,
    DamagedArchiveError,
    ErasuresUnfinishedError,
    PartitionChangedError,
)
from infrastructure.archive.keeping import Keeper
from infrastructure.archive.manifest import Archive, list_archives
from infrastructure.safekeeping.fingerprint import state_of
from infrastructure.safekeeping.stores import FolderStore

TABLES = ("events", "signals", "api_logs")
MONTH = {f"{table}_2049_12" for table in TABLES}


@pytest.mark.parametrize("table", TABLES)
def test_what_is_loaded_back_as_the_how_to_says_is_what_was_there(months: Months, table: str) -> None:
    expected = state_of(months.connection, f"{table}_2049_12")

    months.drop()

    archive = months.archives()[f"{table}_2049_12"]
    assert months.names() == set()
    assert (archive.starts, archive.ends, archive.state) == (DECEMBER, JANUARY, expected)
    assert archive.state.rows == archive.content.lines == 7
    assert state_of(months.connection, months.load(archive)) == expected


def test_lines_are_json_in_which_money_and_large_numbers_are_strings(months: Months) -> None:
    months.drop()

    archives = months.archives()
    lines = gzip.decompress(
        (months.folder / archives["signals_2049_12"].content.name).read_bytes()
    ).splitlines()
    amounts = {json.loads(line)["amount"] for line in lines}
    assert amounts == {"12345678901234567890123.4567890120", "0.10"}
    lines = gzip.decompress(
        (months.folder / archives["events_2049_12"].content.name).read_bytes()
    ).splitlines()
    assert {json.loads(line)["batch_id"] for line in lines} == {str(2**63 - 1)}


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


def test_what_an_earlier_run_archived_is_not_archived_again(months: Months) -> None:
    archive = months.keeper().keep(months.partition("events_2049_12"))
    written = (months.folder / archive.content.name).stat().st_mtime_ns

    months.drop()

    assert months.archives()["events_2049_12"] == archive
    assert (months.folder / archive.content.name).stat().st_mtime_ns == written
    assert months.names() == set()


def test_a_partition_that_changed_since_it_was_archived_is_archived_anew_and_the_old_archive_goes(
    months: Months,
) -> None:
    old = months.keeper().keep(months.partition("events_2049_12"))
    months.connection.execute("DELETE FROM events WHERE customer_id = 'c-3'")

    months.drop()

    archive = months.archives()["events_2049_12"]
    assert archive.name != old.name
    assert archive.content.lines == 6
    assert not (months.folder / old.content.name).exists()


def test_a_row_that_comes_between_archiving_and_dropping_is_archived(
    months: Months, other_connection: psycopg.Connection[Any]
) -> None:
    late: list[UUID] = []
    keeper = months.keeper(KeeperThatIsDisturbed)
    keeper.disturb = lambda _: late or late.append(store(other_connection, DECEMBER))

    months.drop(keeper)
    other_connection.close()

    loaded = months.load(months.archives()["events_2049_12"])
    found = months.connection.execute(f"SELECT event_key FROM {loaded}").fetchall()
    assert (late[0],) in found
    assert len(found) == 8
    assert months.names() == set()


def test_a_partition_that_goes_on_changing_stays_with_its_identities(
    months: Months, other_connection: psycopg.Connection[Any]
) -> None:
    keeper = months.keeper(KeeperThatIsDisturbed)
    keeper.disturb = lambda _: store(other_connection, DECEMBER)

    with pytest.raises(PartitionChangedError, match="run this again"):
        months.drop(keeper)
    other_connection.close()

    assert "events_2049_12" in months.names()
    assert months.count("event_keys") == months.count("events") == 11


class ForgetfulStore(FolderStore):
    """A disk that loses the end of what it was given."""

    def put(self, name: str, file: Path) -> None:
        if name.endswith(".gz"):
            file.write_bytes(file.read_bytes()[:-5])
        super().put(name, file)


def test_an_archive_that_cannot_be_read_back_keeps_its_partition(months: Months) -> None:
    with pytest.raises(DamagedArchiveError, match="cut off or changed"):
        months.drop(months.keeper(store=ForgetfulStore(months.folder)))

    assert months.names() == MONTH
    assert months.count("event_keys") == months.count("events") == 7


def test_one_archive_that_was_damaged_since_keeps_its_partition(months: Months) -> None:
    archive = months.keeper().keep(months.partition("signals_2049_12"))
    file = months.folder / archive.content.name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)

    with pytest.raises(DamagedArchiveError):
        months.drop()

    assert "signals_2049_12" in months.names()


def test_nothing_is_archived_while_customers_are_to_be_erased(months: Months) -> None:
    add = (
        "INSERT INTO erasures (erasure_id, tenant_id, customer_hash, customer_id, erased_at, state)"
        " VALUES (%s, 7, %s, 'c-0', now(), 'events')"
    )
    months.connection.execute(add, (uuid4(), b"x" * 16))

    with pytest.raises(ErasuresUnfinishedError, match="1 erasures are not done"):
        months.drop()

    assert months.names() == MONTH
    assert list(months.folder.iterdir()) == []


def test_an_erasure_that_is_asked_for_while_a_month_is_archived_keeps_it(months: Months) -> None:
    keeper = months.keeper(KeeperThatIsDisturbed)
    keeper.disturb = lambda _: months.connection.execute(
        "INSERT INTO erasures (erasure_id, tenant_id, customer_hash, customer_id, erased_at)"
        " VALUES (gen_random_uuid(), 7, decode(repeat('00', 16), 'hex'), 'c-0', now())"
    )

    with pytest.raises(ErasuresUnfinishedError):
        months.drop(keeper)

    assert months.names() == MONTH


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


def test_two_do_not_archive_at_once(months: Months, database_url: str) -> None:
    with (
        psycopg.connect(database_url, autocommit=True) as other,
        archiving_alone(other),
        pytest.raises(ArchiveError, match="somebody else"),
    ):
        months.drop()


def test_a_run_that_was_killed_at_any_point_is_continued(months: Months) -> None:
    class Killed(BaseException):
        pass

    class StoreThatDies(FolderStore):
        left = 0

        def put(self, name: str, file: Path) -> None:
            self.left -= 1
            if self.left < 0:
                raise Killed
            super().put(name, file)

    class KeeperThatDies(Keeper):
        left = 0

        def require_unchanged(self, archive: Archive) -> None:
            super().require_unchanged(archive)
            KeeperThatDies.left -= 1
            if KeeperThatDies.left < 0:
                raise Killed

    expected = {name: state_of(months.connection, name) for name in MONTH}
    for point in range(4):  # api_logs are dropped in the third, events in the fourth
        dying = StoreThatDies(months.folder)
        dying.left, KeeperThatDies.left = point, 99
        with pytest.raises(Killed):
            months.drop(months.keeper(KeeperThatDies, dying))
        assert months.count("event_keys") == 7
    KeeperThatDies.left = 0
    for _ in range(2):
        with pytest.raises(Killed):
            months.drop(months.keeper(KeeperThatDies))
        assert months.count("event_keys") == 7

    months.drop()

    assert {name: archive.state for name, archive in months.archives().items()} == expected
    for archive in months.archives().values():
        assert state_of(months.connection, months.load(archive)) == archive.state


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


def test_an_archive_takes_little_memory_whatever_its_partition_holds(months: Months) -> None:
    import tracemalloc

    months.connection.execute(
        "INSERT INTO events SELECT gen_random_uuid(), %s, 1, 7, n::text, 't', 'c', %s, NULL, repeat(md5(n::text), 40)"
        " FROM generate_series(1, 20000) AS n",
        (DECEMBER, DECEMBER),
    )
    tracemalloc.start()
    try:
        archive = months.keeper().keep(months.partition("events_2049_12"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert archive.content.lines == 20_007
    assert peak < 8 * 1024 * 1024  # of 28 MB


def test_the_manifest_says_what_sha256sum_says(months: Months) -> None:
    months.drop()
    for archive in months.archives().values():
        content = (months.folder / archive.content.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == archive.content.sha256
        assert hashlib.sha256(gzip.decompress(content)).hexdigest() == archive.content.lines_sha256


def test_without_a_keeper_months_are_dropped_as_upkeep_does(months: Months) -> None:
    from infrastructure.archive.dropping import drop_months

    dropped = drop_months(months.connection, now=NOW, cutoff=CUTOFF)

    assert dropped.partitions == dict.fromkeys(MONTH)
    assert dropped.rows["event_keys"] == 7
