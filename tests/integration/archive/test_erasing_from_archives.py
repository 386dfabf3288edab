"""Archives forget whom the platform has forgotten."""

from datetime import timedelta

import pytest
from archiving import DECEMBER, JANUARY, NOW, QUIET, Months

from infrastructure.archive.erasing import erase_from_archives, prune_archives
from infrastructure.archive.errors import DamagedArchiveError, ErasuresUnfinishedError
from infrastructure.archive.lines import check, unpack


def erase(months: Months) -> dict[str, int]:
    done = erase_from_archives(months.connection, months.store, QUIET, now=NOW)
    return {each.archive.partition("-")[0]: each.rows for each in done}


def text(months: Months, partition: str) -> bytes:
    return b"".join(unpack(months.store, months.archives()[partition].content))


def test_erased_customers_are_taken_out_and_nobody_else(months: Months) -> None:
    months.difficult(8, "c-2", "of another tenant", DECEMBER)
    months.drop()
    old = {name: archive.content.name for name, archive in months.archives().items()}
    months.erase(7, "c-2", NOW)

    assert erase(months) == {"events_2049_12": 1, "signals_2049_12": 1}

    for partition in ("events_2049_12", "signals_2049_12"):
        left = text(months, partition)
        assert left.count(b"\n") == 7
        assert left.count(b'"c-2"') == 1  # the other tenant's
        assert b"of another tenant" in left
        assert not (months.folder / old[partition]).exists()
        check(months.store, months.archives()[partition].content)
    assert months.archives()["api_logs_2049_12"].content.name == old["api_logs_2049_12"]


def test_what_came_after_the_erasure_stays(months: Months) -> None:
    months.difficult(7, "c-2", "later", JANUARY - timedelta(seconds=1))
    months.drop()
    months.erase(7, "c-2", DECEMBER + timedelta(days=1))

    assert erase(months) == {"events_2049_12": 1, "signals_2049_12": 1}
    assert b"later" in text(months, "events_2049_12")


def test_archives_in_which_nobody_is_to_be_forgotten_are_not_read(months: Months) -> None:
    months.erase(7, "c-2", NOW)
    months.connection.execute("DELETE FROM events WHERE customer_id = 'c-2'")
    months.drop()
    for archive in months.archives().values():
        (months.folder / archive.content.name).unlink()

    assert erase(months) == {}


def test_deleted_tenants_and_those_whose_retention_has_passed_go_whole(months: Months) -> None:
    months.drop()
    months.connection.execute("UPDATE tenants SET retention_days = 31 WHERE tenant_id = 8")
    assert erase(months) == {}  # December ended 30 days ago

    months.connection.execute("UPDATE tenants SET retention_days = 30 WHERE tenant_id = 8")
    assert erase(months) == dict.fromkeys(("api_logs_2049_12", "events_2049_12", "signals_2049_12"), 3)
    assert erase(months) == {}

    months.connection.execute("UPDATE tenants SET status = 'deleted' WHERE tenant_id = 7")
    assert erase(months) == dict.fromkeys(("api_logs_2049_12", "events_2049_12", "signals_2049_12"), 4)
    assert text(months, "events_2049_12") == b""


def test_one_damaged_manifest_hinders_no_other_archive_and_is_told(months: Months) -> None:
    months.drop()
    archive = months.archives()["events_2049_12"]
    (months.folder / f"{archive.name}.json").write_bytes(b"{}")
    months.erase(7, "c-2", NOW)

    with pytest.raises(DamagedArchiveError, match="events_2049_12"):
        erase(months)

    assert (months.folder / archive.content.name).exists()
    assert b'"c-2"' not in text(months, "signals_2049_12")


def test_what_a_killed_run_left_behind_is_deleted(months: Months) -> None:
    months.drop()
    archive = months.archives()["events_2049_12"]
    left = months.folder / archive.content.name.replace(".ndjson", "-0a0b0c.ndjson")
    left.write_bytes(b"an erased customer's")
    half = months.folder / "signals_2049_11-20500101T000000Z-000000.ndjson.gz"
    half.write_bytes(b"without a manifest")
    foreign = months.folder / "notes.ndjson.gz"
    foreign.write_bytes(b"somebody's")

    erase(months)

    assert (left.exists(), half.exists(), foreign.exists()) == (False, False, True)
    check(months.store, archive.content)


def test_a_damaged_archive_is_told_and_left_as_it_is(months: Months) -> None:
    months.drop()
    archive = months.archives()["events_2049_12"]
    file = months.folder / archive.content.name
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-9])
    months.erase(7, "c-2", NOW)

    with pytest.raises(DamagedArchiveError, match=r"events_2049_12.* was cut off or changed"):
        erase(months)

    assert months.archives()["events_2049_12"] == archive
    assert file.exists()


def test_unfinished_erasures_are_waited_for(months: Months) -> None:
    months.drop()
    months.connection.execute(
        "INSERT INTO erasures (erasure_id, tenant_id, customer_hash, customer_id, erased_at)"
        " VALUES (gen_random_uuid(), 7, decode(repeat('00', 16), 'hex'), 'c-0', now())"
    )
    with pytest.raises(ErasuresUnfinishedError):
        erase(months)


def test_pruning_deletes_whole_archives_of_older_months_only(months: Months) -> None:
    months.drop()

    assert prune_archives(months.store, JANUARY - timedelta(seconds=1)) == []
    assert len(prune_archives(months.store, JANUARY)) == 3
    assert list(months.folder.iterdir()) == []
