"""Archiving that breaks off or cannot be read back drops nothing, and the next run goes on."""

from pathlib import Path

import psycopg
import pytest
from archiving import MONTH, Months

from infrastructure.archive.dropping import archiving_alone
from infrastructure.archive.errors import (
    ArchiveError,
    DamagedArchiveError,
)
from infrastructure.archive.keeping import Keeper
from infrastructure.archive.manifest import Archive
from infrastructure.safekeeping.fingerprint import state_of
from infrastructure.safekeeping.stores import FolderStore


def test_what_an_earlier_run_archived_is_not_archived_again(months: Months) -> None:
    archive = months.keeper().keep(months.partition("events_2049_12"))
    written = (months.folder / archive.content.name).stat().st_mtime_ns

    months.drop()

    assert months.archives()["events_2049_12"] == archive
    assert (months.folder / archive.content.name).stat().st_mtime_ns == written
    assert months.names() == set()


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
