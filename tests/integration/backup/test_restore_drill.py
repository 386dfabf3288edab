"""The drill proves that the newest backup restores, tells Prometheus, and leaves nothing behind."""

from pathlib import Path

import psycopg
import pytest
from backing_up import Site, cut_off, failed_with, metrics, unchanged
from people import NOON, event
from psycopg import sql


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "metrics"
    made.mkdir()
    return made


def test_a_drill_restores_beside_the_live_database_and_tells_so(site: Site, folder: Path) -> None:
    site.people.send(event("a"))
    name = site.backup(SSPP_BACKUP_METRICS_DIR=str(folder))["name"]
    with unchanged(site):
        done = site.restore("--drill", SSPP_BACKUP_METRICS_DIR=str(folder))
    assert done.exit_code == 0, done.output
    assert f"{name} restores" in done.stdout
    told = metrics(folder)
    assert told["sspp_backup_last_run_success"] == told["sspp_restore_drill_last_run_success"] == 1
    assert (
        told["sspp_restore_drill_backup_timestamp_seconds"]
        == told["sspp_backup_last_success_timestamp_seconds"]
    )
    assert told["sspp_backup_newest_event_timestamp_seconds"] == NOON.timestamp()
    assert site.backup()["drilled"] is False
    assert "true" in site.run("backup", "--list", "--json").stdout


def test_a_drill_that_fails_tells_so_and_leaves_what_was_told_of_the_last_success(
    site: Site, folder: Path
) -> None:
    site.backup()
    environment = {"SSPP_BACKUP_METRICS_DIR": str(folder)}
    assert site.restore("--drill", **environment).exit_code == 0
    before = metrics(folder)
    cut_off(site.dump(site.backup()["name"]))
    with unchanged(site):
        assert failed_with(site.restore("--drill", **environment)) == "backup_truncated"
    now = metrics(folder)
    assert now["sspp_restore_drill_last_run_success"] == 0
    success = "sspp_restore_drill_last_success_timestamp_seconds"
    assert now[success] == before[success]


def test_a_drill_fails_if_the_newest_backup_is_too_old(site: Site) -> None:
    site.rewrite(site.backup()["name"], taken_at="2026-01-01T00:00:00Z")
    done = site.restore("--drill", "--max-age-hours", "26")
    assert done.exit_code == 3
    assert "older than 26 hours" in done.stderr


def test_the_files_are_readable_by_node_exporter(site: Site, folder: Path) -> None:
    site.backup(SSPP_BACKUP_METRICS_DIR=str(folder))
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in folder.glob("*.prom"))


def test_what_killed_drills_left_is_dropped_a_day_later(site: Site) -> None:
    site.backup()
    names = [f"{site.name}_restore_20260101000000_abcd", f"{site.name}_restore_29990101000000_abcd"]
    with psycopg.connect(site.server, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    assert site.restore("--drill").exit_code == 0
    assert site.databases() == [site.name, names[1]]
