"""What killed runs leave goes by itself a day later, and what is under way does not."""

import os
import time
from datetime import timedelta

import psycopg
from backing_up import Site

from common.clock import system_clock


def test_databases_of_killed_restores_go_with_a_drill_a_day_later(site: Site) -> None:
    site.backup()
    young, old = (
        f"{site.name}_restore_{system_clock() - timedelta(hours=hours):%Y%m%d%H%M%S}_1f2e"
        for hours in (23, 25)
    )
    with psycopg.connect(site.server, autocommit=True) as connection:
        for name in (young, old):
            connection.execute(f"CREATE DATABASE {name}".encode())
    with psycopg.connect(site.at(old)):
        assert site.restore("--drill").exit_code == 0
        assert site.databases() == [site.name, old, young]

    assert site.restore("--drill").exit_code == 0
    assert site.databases() == [site.name, young]


def test_what_killed_backups_were_writing_goes_with_a_command_a_day_later(site: Site) -> None:
    site.backup()
    young, old = (site.store / f".staging-{name}" for name in ("young", "old"))
    for folder, hours in ((young, 23), (old, 25)):
        folder.mkdir()
        (folder / "a.dump").write_bytes(b"half")
        os.utime(folder, times=(time.time() - hours * 3600,) * 2)

    assert site.run("restore", "--check").exit_code == 0

    assert young.exists()
    assert not old.exists()
