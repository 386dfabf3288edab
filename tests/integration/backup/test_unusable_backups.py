"""A backup that cannot be restored is found out before anything is changed, by a stable code and exit code."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from backing_up import Damage, Site, cut_off, empty, failed_with, flip_a_bit, metrics, unchanged
from people import event

from common.clock import system_clock
from infrastructure.backup.catalogue import find_backup
from infrastructure.safekeeping.stores import FolderStore

OLD_PROGRAMS = sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))


def _refused(site: Site, code: str, *arguments: str, **environment: str) -> str:
    with unchanged(site):
        done = site.restore("--overwrite", *arguments, **environment)
    assert failed_with(done) == code
    return done.stderr


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (cut_off, "backup_truncated"),
        (flip_a_bit, "backup_corrupted"),
        (empty, "backup_empty"),
        (Path.unlink, "backup_not_found"),
    ],
)
def test_a_damaged_dump(site: Site, damage: Damage, code: str) -> None:
    site.people.send(event("a"))
    name = site.backup()["name"]
    damage(site.dump(name))
    assert name in _refused(site, code)
    checked = site.run("restore", "--check", "--quiet")
    assert failed_with(checked) == code


def test_a_dump_that_is_another_one_is_not_taken_for_a_part_of_it(site: Site, until: Any) -> None:
    small = site.backup()["name"]
    # Of two backups of one second, either may be the newest.
    until(lambda: f"sspp-{system_clock():%Y%m%dT%H%M%SZ}" > small.rpartition("-")[0])
    site.people.send(*(event(f"e{number}") for number in range(200)))
    name = site.backup()["name"]
    site.dump(small).rename(site.dump(name))
    assert "or is another file" in _refused(site, "backup_truncated")


@pytest.mark.parametrize("damage", [cut_off, flip_a_bit, empty])
def test_a_damaged_manifest(site: Site, damage: Damage) -> None:
    damage(site.store / f"{site.backup()['name']}.json")
    _refused(site, "backup_corrupted")


@pytest.mark.parametrize(
    ("changes", "code"), [(None, "backup_corrupted"), ({"format": 2}, "backup_wrong_version")], ids=str
)
def test_a_backup_that_cannot_be_restored_is_listed_with_the_reason(
    site: Site, changes: dict[str, Any] | None, code: str
) -> None:
    good, bad = site.backup()["name"], site.backup()["name"]
    if changes:
        site.rewrite(bad, **changes)
    else:
        cut_off(site.store / f"{bad}.json")

    done = site.run("backup", "--list", "--json")

    assert failed_with(done) == code
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows.keys() == {good, bad}
    assert rows[good]["problem"] is None
    assert bad in rows[bad]["problem"]
    assert rows[bad]["rows"] is None


def test_no_folder_for_backups(site: Site) -> None:
    _refused(site, "backup_store_missing")


def test_no_backup_at_all(site: Site) -> None:
    site.store.mkdir()
    assert "sspp backup" in _refused(site, "backup_not_found")


def test_no_backup_of_this_name(site: Site) -> None:
    site.backup()
    _refused(site, "backup_not_found", "sspp-20200101T000000Z-000000")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"server_version": 990_000},
        {"migrations": {"1": ["tenants", "of another release"]}},
    ],
    ids=str,
)
def test_a_backup_of_a_newer_version(site: Site, changes: dict[str, Any]) -> None:
    site.rewrite(site.backup()["name"], **changes)
    _refused(site, "backup_wrong_version")


def test_a_dump_that_a_newer_pg_dump_made(site: Site) -> None:
    name = site.backup()["name"]
    dump = bytearray(site.dump(name).read_bytes())
    assert dump[:5] == b"PGDMP"
    dump[6] = 99  # the minor version of the archive's format
    site.dump(name).write_bytes(dump)
    site.rewrite(name, sha256=hashlib.sha256(dump).hexdigest())
    assert "newer PostgreSQL client" in _refused(site, "backup_wrong_version")


@pytest.mark.parametrize("differing", [{"rows": 7}, {"checksum": "1"}], ids=str)
def test_a_dump_that_restores_to_something_else(site: Site, differing: dict[str, Any]) -> None:
    site.people.send(event("a"))
    name = site.backup()["name"]
    tables = {
        table: {"rows": state.rows, "checksum": state.checksum}
        for table, state in find_backup(FolderStore(site.store), name).tables.items()
    }
    tables["events"] |= differing
    site.rewrite(name, tables=tables)
    assert "events has" in _refused(site, "backup_restored_differently")


@pytest.mark.parametrize("end", ["exit 1", "kill -9 $$"])
def test_a_dump_that_breaks_off_becomes_no_backup(site: Site, tmp_path: Path, end: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("pg_dump", "pg_restore"):
        script = programs / program
        version = f'if [ "$1" = --version ]; then echo "{program} (PostgreSQL) 99.0"; exit; fi'
        script.write_text(f"#!/bin/sh\n{version}\nprintf PGDMP; echo gone >&2; {end}\n")
        script.chmod(0o755)
    (tmp_path / "metrics").mkdir()
    site.backup()
    before = sorted(site.store.iterdir())
    done = site.run(
        "backup",
        "--quiet",
        SSPP_POSTGRESQL_BIN=str(programs),
        SSPP_BACKUP_METRICS_DIR=str(tmp_path / "metrics"),
    )
    assert done.exit_code == 1
    assert "pg_dump failed" in done.stderr
    assert "gone" in done.stderr
    assert sorted(site.store.iterdir()) == before
    assert metrics(tmp_path / "metrics")["sspp_backup_last_run_success"] == 0


def test_programs_that_are_too_old_for_the_server_are_not_used(site: Site, tmp_path: Path) -> None:
    for program in ("pg_dump", "pg_restore"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho "{program} (PostgreSQL) 9.6"\n')
        (tmp_path / program).chmod(0o755)
    done = site.run("backup", "--quiet", SSPP_POSTGRESQL_BIN=str(tmp_path))
    assert failed_with(done) == "backup_programs_too_old"
    assert "SSPP_POSTGRESQL_BIN" in done.stderr


@pytest.mark.skipif(not OLD_PROGRAMS, reason="no older pg_dump is installed (apt install postgresql-client)")
def test_a_real_pg_dump_of_an_older_version_is_refused_before_it_begins(site: Site) -> None:
    if int(OLD_PROGRAMS[0].parent.name) >= site.server_major():
        pytest.skip(f"the server is as old as {OLD_PROGRAMS[0]}")
    done = site.run("backup", "--quiet", SSPP_POSTGRESQL_BIN=str(OLD_PROGRAMS[0]))
    assert failed_with(done) == "backup_programs_too_old"
    assert f"{OLD_PROGRAMS[0]} has {OLD_PROGRAMS[0].parent.name}" in done.stderr
    assert list(site.store.iterdir()) == []
    name = site.backup()["name"]
    with unchanged(site):
        done = site.restore("--overwrite", SSPP_POSTGRESQL_BIN=str(OLD_PROGRAMS[0]))
    assert failed_with(done) == "backup_programs_too_old"
    assert site.dump(name).exists()
