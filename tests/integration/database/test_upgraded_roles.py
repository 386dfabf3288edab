"""Roles in a database that an ordinary owner and a superuser have migrated by turns."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from connecting import ConnectAs
from psycopg import sql

from common.database.connections import open_pool
from common.settings import Settings
from infrastructure.database.connections import connect
from infrastructure.database.migrate import MIGRATIONS, migrate, read_migrations
from infrastructure.database.roles import own_tables
from worker.maintenance.upkeep import run_upkeep

MakeLogin = Callable[[str, str], str]

# The last one that an ordinary owner can apply: the next but one makes roles.
BEFORE_ROLES = 10


@pytest.fixture
def make_login(postgres_server: str) -> Iterator[MakeLogin]:
    """Makes a role with the given attributes that logs in, and returns `url` as that role; drops it after the test."""
    made = []
    with psycopg.connect(postgres_server, autocommit=True) as connection:

        def make(url: str, attributes: str) -> str:
            name, password = f"sspp_test_{secrets.token_hex(6)}", secrets.token_hex(16)
            create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} ").format(
                sql.Identifier(name), sql.Literal(password)
            )
            connection.execute(create + sql.SQL(attributes))  # type: ignore[arg-type]
            made.append(name)
            parts = urlsplit(url)
            return urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.netloc.rpartition('@')[2]}"))

        yield make
        for name in made:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def owner_and_superuser_migrated(make_login: MakeLogin, empty_database_url: str, tmp_path: Path) -> str:
    """A database whose first tables are an ordinary owner's, and all others a superuser's; the name of that owner."""
    url = make_login(empty_database_url, "")
    owner = str(urlsplit(url).username)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(sql.Identifier(owner)))
    for path in sorted(MIGRATIONS.glob("*.sql"))[:BEFORE_ROLES]:
        shutil.copy(path, tmp_path)
    with suppress(psycopg.errors.UndefinedTable):  # this release partitions tables that come later
        migrate(url, directory=tmp_path)
    migrate(empty_database_url)
    return owner


def test_the_migrators_role_works_on_tables_of_whomever_they_are(
    make_login: MakeLogin,
    empty_database_url: str,
    owner_and_superuser_migrated: str,
    connected_as: ConnectAs,
    tmp_path: Path,
) -> None:
    url = make_login(empty_database_url, "BYPASSRLS")
    migrator = str(urlsplit(url).username)
    with connect(empty_database_url) as connection:
        [superuser] = connection.execute("SELECT current_user").fetchone() or [""]
        for _ in range(2):
            own_tables(connection, migrator)
        owners = connection.execute(
            "SELECT DISTINCT relowner::regrole::text FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
        ).fetchall()
    assert owners == [(owner,) for owner in sorted((migrator, owner_and_superuser_migrated))]

    urls = {"DATABASE_URL": url, "REDIS_URL": "redis://unused", "ELASTICSEARCH_URL": "http://unused"}
    settings = Settings.model_validate(urls | {"SSPP_RETENTION_MONTHS": 1})
    later = datetime.now(UTC) + timedelta(days=3650)
    with open_pool(url, application="test") as pool:
        done = run_upkeep(pool, settings, lambda: later)
        assert done["partitions_created"]
        assert done["partitions_dropped"]
    shutil.copytree(MIGRATIONS, tmp_path, dirs_exist_ok=True)
    add = "ALTER TABLE events ADD COLUMN note text; ALTER TABLE api_logs ADD COLUMN note text;"
    (tmp_path / f"{len(read_migrations(MIGRATIONS)) + 1:04}_add_notes.sql").write_text(add)
    assert [migration.name for migration in migrate(url, directory=tmp_path)] == ["add_notes"]
    with connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(superuser)))
    with connected_as("sspp_api", url=empty_database_url) as connection:
        assert connection.execute("SELECT * FROM find_api_key('none')").fetchall() == []
