"""What the platform's roles in the database may do, and what not."""

import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from connecting import ConnectAs
from psycopg import sql

from common.database.partitions import drop_expired, ensure_partitions
from common.tenancy.secrets import parse_prefix
from infrastructure.database.connections import connect
from infrastructure.database.migrate import MIGRATIONS, migrate, read_migrations
from infrastructure.database.roles import ROLES, own_tables


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("sspp_api", "SELECT * FROM events_default"),
        ("sspp_api", "SELECT * FROM signals_2026_11"),
        ("sspp_api", "INSERT INTO events SELECT * FROM events"),
        ("sspp_api", "DELETE FROM customers"),
        ("sspp_api", "UPDATE event_types SET schema = '{}'"),
        ("sspp_api", "DELETE FROM event_types"),
        ("sspp_api", "UPDATE schema_violations SET events = 0"),
        ("sspp_api", "UPDATE api_logs SET status = 200"),
        ("sspp_api", "DELETE FROM api_logs"),
        ("sspp_api", "UPDATE customers SET name = 'x'"),
        ("sspp_api", "UPDATE api_keys SET scopes = '{admin}'"),
        ("sspp_api", "UPDATE api_keys SET tenant_id = 0"),
        ("sspp_api", "ALTER TABLE events DISABLE ROW LEVEL SECURITY"),
        ("sspp_api", "DROP POLICY own_tenant ON events"),
        ("sspp_api", "CREATE TABLE mine (n integer)"),
        ("sspp_api", "INSERT INTO plans VALUES ('gold')"),
        ("sspp_api", "UPDATE usage SET events = 0"),
        ("sspp_api", "INSERT INTO usage_parts VALUES (1, '2026-11-01', 1, -1)"),
        ("sspp_worker", "DELETE FROM usage_parts"),
        ("sspp_worker", "UPDATE plans SET monthly_events = NULL"),
        ("sspp_api", "DELETE FROM tombstones"),
        ("sspp_api", "SELECT customer_id FROM erasures"),
        ("sspp_api", "UPDATE erasures SET counts = '{}'"),
        ("sspp_worker", "SELECT * FROM erasures"),
        ("sspp_worker", "UPDATE tombstones SET erased_at = NULL"),
        ("sspp_reporting", "SELECT * FROM tombstones"),
        ("sspp_worker", "SELECT * FROM api_keys"),
        ("sspp_worker", "SELECT * FROM find_api_key('x')"),
        ("sspp_worker", "SELECT * FROM look_through_log('c', '-infinity', gen_random_uuid(), 1)"),
        ("sspp_worker", "DROP TABLE events_default"),
        ("sspp_worker", "UPDATE tenants SET status = 'active'"),
        ("sspp_reporting", "SELECT * FROM api_keys"),
        ("sspp_reporting", "SELECT * FROM events_default"),
        ("sspp_reporting", "DELETE FROM events"),
    ],
)
def test_a_role_has_no_right_that_its_work_does_not_need(
    connected_as: ConnectAs, role: str, statement: str
) -> None:
    with (
        connected_as(role) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)  # type: ignore[call-overload]


def test_nobody_has_temporary_tables_in_a_migrated_database(
    empty_database_url: str, connected_as: ConnectAs
) -> None:
    migrate(empty_database_url)

    for role in ROLES:
        with (
            connected_as(role, url=empty_database_url) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="temporary"),
        ):
            connection.execute("CREATE TEMPORARY VIEW api_keys AS SELECT 1")


def test_every_function_that_runs_as_the_owner_has_its_names_bound(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        functions = connection.execute(
            "SELECT proname, prosqlbody IS NOT NULL FROM pg_proc"
            " WHERE prosecdef AND pronamespace = 'public'::regnamespace"
        ).fetchall()
    assert ("find_api_key", True) in functions
    assert [name for name, bound in functions if not bound] == []


def test_what_runs_as_the_owner_is_not_led_to_the_callers_own_tables(
    postgres_server: str,
    connected_as: ConnectAs,
    api_store: Any,
    two_tenants: tuple[int, int],
) -> None:
    """Even where somebody has temporary tables: rights on a database do not come along with a copy of it."""
    prefix = str(parse_prefix(api_store.key(two_tenants[0], "read")))
    with connected_as("sspp_api") as connection:
        connection.execute("CREATE TEMPORARY TABLE api_keys (LIKE public.api_keys)")
        for table in ("tenants", "plans", "usage", "usage_parts"):
            connection.execute(f"CREATE TEMPORARY VIEW {table} AS SELECT current_user::text AS who")
        connection.execute("SET search_path = pg_temp, public")

        found = connection.execute("SELECT tenant_id FROM public.find_api_key(%s)", (prefix,)).fetchall()
    assert found == [(two_tenants[0],)]


@pytest.fixture
def new_role(postgres_server: str) -> Iterator[tuple[str, str]]:
    """The name of a login that may see all rows, as `sspp roles enable sspp_migrator` makes it, and its password."""
    name, password = f"sspp_test_{secrets.token_hex(6)}", secrets.token_hex(16)
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS PASSWORD {}").format(
                sql.Identifier(name), sql.Literal(password)
            )
        )
        yield name, password
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_the_migrators_role_does_what_the_owner_may_and_cannot_become_a_superuser(
    new_role: tuple[str, str],
    database_url: str,
    connected_as: ConnectAs,
    api_store: Any,
    tmp_path: Path,
) -> None:
    name, password = new_role
    prefix = str(parse_prefix(api_store.key(api_store.tenant("one"), "read")))
    with connect(database_url) as connection:
        [superuser] = connection.execute("SELECT current_user").fetchone() or [""]
        for _ in range(2):
            own_tables(connection, name)
    parts = urlsplit(database_url)
    url = urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.netloc.rpartition('@')[2]}"))

    with connect(url) as connection:
        later = datetime.now(UTC) + timedelta(days=3650)
        assert ensure_partitions(connection, now=later, ahead=0)
        dropped = drop_expired(connection, now=later, retention_months=1)
        assert dropped.partitions
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(superuser)))
    shutil.copytree(MIGRATIONS, tmp_path, dirs_exist_ok=True)
    add = "ALTER TABLE events ADD COLUMN note text; CREATE TABLE notes (tenant_id integer NOT NULL);"
    (tmp_path / f"{len(read_migrations(MIGRATIONS)) + 1:04}_add_notes.sql").write_text(add)
    assert [migration.name for migration in migrate(url, directory=tmp_path)] == ["add_notes"]

    with connected_as("sspp_api") as connection:
        assert connection.execute("SELECT slug FROM find_api_key(%s)", (prefix,)).fetchall() == [("one",)]
    with connect(database_url) as connection:
        owners = connection.execute(
            "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert owners == [(name,)]


def test_analysts_read_what_is_stored_of_all_tenants(
    connected_as: ConnectAs, two_tenants: tuple[int, int]
) -> None:
    with connected_as("sspp_reporting") as connection:
        for table in ("events", "signals", "customers", "rejected_events"):
            found = connection.execute(f"SELECT tenant_id FROM {table} ORDER BY 1").fetchall()
            assert [tenant for (tenant,) in found] == list(two_tenants), table
