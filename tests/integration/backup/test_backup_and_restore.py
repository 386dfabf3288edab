"""A database that was lost comes back, and a live one is not lost by mistake."""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from backing_up import Site, failed_with, unchanged
from people import NOON, event

from infrastructure.backup.catalogue import find_backup
from infrastructure.safekeeping.stores import FolderStore


def _events(*ids: str) -> list[bytes]:
    return [event(each, customer=f"customer-{each}") for each in ids]


def test_a_destroyed_database_comes_back_as_it_was_and_so_does_the_index(site: Site) -> None:
    site.people.send(*_events("a", "b", "c"), b'{"event_id": "x", "event_type": "unheard_of", "data": {}}')
    stored, schema, documents = site.stored(), site.schema(), site.people.documents()
    name = site.backup()["name"]
    site.people.send(*_events("too-late"))
    site.destroy()
    done = site.run("restore", "--quiet")
    assert done.exit_code == 0, done.output
    assert site.stored() == stored
    assert site.schema() == schema
    assert site.people.documents() == documents
    assert f"Restored {name}" in done.stdout
    assert site.run("verify", "--quiet").exit_code == 0


def test_the_platform_goes_on_with_a_restored_database(site: Site) -> None:
    site.people.send(*_events("a"))
    site.backup()
    site.destroy()
    assert site.restore().exit_code == 0
    site.people.send(*_events("a", "b"))
    [(count,)] = site.execute("SELECT count(*) FROM events")
    assert count == 2


def test_a_backup_is_of_one_instant_however_much_is_stored_meanwhile(site: Site) -> None:
    site.people.send(*_events("first"))
    stop = threading.Event()

    def store() -> None:
        for number in range(100_000):
            if stop.is_set():
                return
            site.people.pipeline.push(*_events(f"n{number}", f"m{number}"), received_at=NOON)
            site.people.pipeline.drain()

    storing = threading.Thread(target=store)
    storing.start()
    try:
        assert site.run("backup", "--quiet").exit_code == 0
    finally:
        stop.set()
        storing.join()
    done = site.restore("--drill")
    assert done.exit_code == 0, done.output
    manifest = find_backup(FolderStore(site.store))
    [(stored_since,)] = site.execute("SELECT count(*) FROM events")
    assert manifest.tables["events"].rows == manifest.tables["event_keys"].rows < stored_since
    assert manifest.newest_event == NOON


def test_a_live_database_is_not_overwritten_unless_told(site: Site) -> None:
    site.people.send(*_events("a"))
    site.backup()
    with unchanged(site):
        done = site.restore()
    assert done.exit_code == 4
    assert "[restore_refused]" in done.stderr
    assert "--overwrite" in done.stderr


def test_an_overwritten_database_stays_under_another_name(site: Site) -> None:
    site.people.send(*_events("a"))
    before = site.stored()
    site.backup()
    site.people.send(*_events("b"))
    live = site.fingerprint()
    done = site.restore("--overwrite")
    assert done.exit_code == 0, done.output
    assert site.stored() == before
    [former] = [name for name in site.databases() if name != site.name]
    assert former in done.stdout
    site.environment["DATABASE_URL"] = site.at(former)
    assert site.fingerprint() == live


def test_rights_and_settings_of_the_database_come_with_it(site: Site) -> None:
    site.execute(f"ALTER DATABASE {site.name} SET work_mem TO '5MB'")
    site.execute(f"REVOKE TEMPORARY ON DATABASE {site.name} FROM PUBLIC")
    site.backup()
    assert site.restore("--overwrite").exit_code == 0
    [(memory, temporary, connects)] = site.execute(
        "SELECT current_setting('work_mem'), has_database_privilege('sspp_api', current_database(), 'TEMPORARY'),"
        " has_database_privilege('sspp_api', current_database(), 'CONNECT')"
    )
    assert (memory, temporary, connects) == ("5MB", False, True)


def test_numbers_of_tenants_made_since_the_backup_are_not_given_to_others(site: Site) -> None:
    site.backup()
    [(lost,)] = site.execute("INSERT INTO tenants (slug, name) VALUES ('lost', 'Lost') RETURNING tenant_id")
    assert site.restore("--overwrite").exit_code == 0
    [(new,)] = site.execute("INSERT INTO tenants (slug, name) VALUES ('new', 'New') RETURNING tenant_id")
    assert new > lost


def test_backups_are_readable_by_their_owner_only(site: Site) -> None:
    name = site.backup()["name"]
    assert site.store.stat().st_mode & 0o077 == 0
    assert site.dump(name).stat().st_mode & 0o077 == 0


def test_a_database_without_our_tables_is_not_backed_up(site: Site, empty_database_url: str) -> None:
    done = site.run("backup", "--quiet", DATABASE_URL=empty_database_url)
    assert done.exit_code == 1
    assert "is DATABASE_URL the right one" in done.stderr
    assert site.run("backup", "--list").stdout.strip() == "(none)"


@pytest.fixture
def login(site: Site) -> Iterator[Callable[[str], str]]:
    """Makes a login with these attributes that may read all tables; returns the URL of the site's database for it."""
    name, password = f"sspp_test_{secrets.token_hex(6)}", secrets.token_hex(16)

    def make(attributes: str) -> str:
        with psycopg.connect(site.server, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' {attributes}".encode())
            connection.execute(f"GRANT pg_read_all_data TO {name}".encode())
        return psycopg.conninfo.make_conninfo(site.url, user=name, password=password)

    yield make
    with psycopg.connect(site.server, autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {name}".encode())


def test_a_role_that_can_only_read_takes_a_whole_backup(site: Site, login: Callable[[str], str]) -> None:
    site.people.send(*_events("a", "b"))
    stored = site.stored()
    site.backup(DATABASE_URL=login("BYPASSRLS"))
    site.destroy()
    done = site.restore()
    assert done.exit_code == 0, done.output
    assert site.stored() == stored


def test_a_role_that_would_see_only_some_rows_takes_none(site: Site, login: Callable[[str], str]) -> None:
    site.people.send(*_events("a"))
    done = site.run("backup", "--quiet", DATABASE_URL=login(""))
    assert failed_with(done) == "backup_failed"
    assert "row-level security" in done.stderr
    assert site.run("backup", "--list").stdout.strip() == "(none)"


def test_no_list_of_processes_and_no_file_shows_the_password(site: Site) -> None:
    """The programs are told it through their environment, of which only their owner can read."""
    password = psycopg.conninfo.conninfo_to_dict(site.url)["password"]
    seen: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    with suppress(OSError):
                        seen.append((process / "cmdline").read_bytes().decode(errors="replace"))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        site.backup()
    finally:
        stop.set()
        watching.join()
    assert any("pg_dump" in line for line in seen)
    assert not any(str(password) in line for line in seen)
    assert not any(str(password).encode() in file.read_bytes() for file in site.store.iterdir())
