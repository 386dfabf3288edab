"""What the database itself keeps apart, whatever the code says."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from psycopg import sql

from common.database.partitions import drop_expired, ensure_partitions
from common.database.tenancy import PLATFORM_AFFAIR, SET_TENANCY, of_tenant
from common.tenancy.secrets import parse_prefix
from infrastructure.database.connections import connect
from infrastructure.database.migrate import MIGRATIONS, migrate, read_migrations
from infrastructure.database.roles import ROLES, own_tables

TENANT_TABLES = """
SELECT pg_class.relname, relkind, relispartition, relrowsecurity, relforcerowsecurity,
       (SELECT count(*) FROM pg_policy WHERE polrelid = pg_class.oid AND polname = 'own_tenant')
FROM pg_class
JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'tenant_id' AND NOT attisdropped
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
"""

STORED = (
    "event_keys",
    "events",
    "signals",
    "customers",
    "rejected_events",
    "event_types",
    "outbox",
    "index_failures",
    "schema_violations",
    "tombstones",
    "erasures",
)


@pytest.fixture
def two_tenants(api_store: Any) -> tuple[int, int]:
    """Two tenants with an event, its signal, a customer, a refusal and a key each."""
    tenants = api_store.tenant("one"), api_store.tenant("two")
    for tenant in tenants:
        signal = api_store.event(tenant, f"e{tenant}")
        api_store.customer(tenant, "c1")
        api_store.rejection(tenant, f"r{tenant}")
        api_store.key(tenant, "read", "ingest")
        api_store.execute(
            "INSERT INTO event_types (tenant_id, event_type, version, schema) VALUES (%s, 'own', 1, '{}')",
            (tenant,),
        )
        api_store.execute(
            "INSERT INTO schema_violations VALUES (%s, 'own', 1, '/data', 'type', 1, now(), now(), %s)",
            (tenant, signal),
        )
        api_store.execute(
            "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until)"
            " VALUES (%s, %s, '{}', now(), now())",
            (tenant, tenant),
        )
        api_store.execute(
            "INSERT INTO index_failures (signal_id, tenant_id, status, reason) VALUES (%s, %s, 400, 'x')",
            (signal, tenant),
        )
        api_store.execute("INSERT INTO tombstones VALUES (%s, %s, now())", (tenant, b"x" * 16))
        api_store.execute(
            "INSERT INTO erasures (erasure_id, tenant_id, customer_hash, customer_id, erased_at)"
            " VALUES (%s, %s, %s, 'c1', now())",
            (signal, tenant, b"x" * 16),
        )
    return tenants


@contextmanager
def connected(url: str, tenancy: Any = None) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url) as connection:
        if tenancy is not None:
            connection.execute(SET_TENANCY, tenancy)
        yield connection


def test_every_table_of_tenants_is_under_row_level_security_and_each_partition_sealed(
    database_url: str,
) -> None:
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(TENANT_TABLES).fetchall()
    assert len(tables) > len(STORED)
    for name, _, is_partition, enabled, forced, policies in tables:
        assert enabled, name
        assert forced, name
        assert policies == (0 if is_partition else 1), name


def test_without_a_tenant_the_apis_role_sees_no_row(
    database_url: str, logins: Callable[[str, str], str], two_tenants: tuple[int, int]
) -> None:
    for tenancy in (None, of_tenant(None)):
        with connected(logins(database_url, "sspp_api"), tenancy) as connection:
            for table in {*STORED, "tenants", "api_keys"} - {"event_types", "index_failures"}:
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
            # The platform's own types are everybody's.
            assert connection.execute("SELECT DISTINCT tenant_id FROM event_types").fetchall() == [(0,)]


def test_the_apis_role_sees_and_changes_only_the_tenant_of_its_transaction(
    database_url: str, logins: Callable[[str, str], str], two_tenants: tuple[int, int]
) -> None:
    one, two = two_tenants
    with connected(logins(database_url, "sspp_api"), of_tenant(one)) as connection:
        for table in {*STORED, "tenants", "api_keys"} - {"index_failures"}:
            found = connection.execute(
                f"SELECT DISTINCT tenant_id FROM {table} WHERE tenant_id <> 0"
            ).fetchall()
            assert found == [(one,)], table
        for statement in (
            "UPDATE rejected_events SET status = 'replayed' WHERE tenant_id = %s",
            "UPDATE api_keys SET revoked_at = now() WHERE tenant_id = %s",
            "UPDATE tenants SET status = 'deleted' WHERE tenant_id = %s",
            "UPDATE plans SET monthly_events = %s",
        ):
            assert connection.execute(statement, (two,)).rowcount == 0, statement
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            connection.execute(
                "INSERT INTO api_keys (tenant_id, prefix, key_hash, scopes) VALUES (%s, 'p', %s, '{read}')",
                (two, b"x" * 32),
            )


def test_a_platform_affair_is_not_about_what_tenants_have_stored(
    database_url: str, logins: Callable[[str, str], str], two_tenants: tuple[int, int]
) -> None:
    with connected(logins(database_url, "sspp_api"), PLATFORM_AFFAIR) as connection:
        for table in ("events", "event_keys", "signals", "customers", "rejected_events"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        assert connection.execute("SELECT count(*) FROM tenants WHERE tenant_id > 0").fetchone() == (2,)


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
    database_url: str, logins: Callable[[str, str], str], role: str, statement: str
) -> None:
    with (
        connected(logins(database_url, role)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)  # type: ignore[call-overload]


def test_nobody_has_temporary_tables_in_a_migrated_database(
    empty_database_url: str, logins: Callable[[str, str], str]
) -> None:
    migrate(empty_database_url)

    for role in ROLES:
        with (
            connected(logins(empty_database_url, role)) as connection,
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
    database_url: str,
    logins: Callable[[str, str], str],
    api_store: Any,
    two_tenants: tuple[int, int],
) -> None:
    """Even where somebody has temporary tables: rights on a database do not come along with a copy of it."""
    prefix = str(parse_prefix(api_store.key(two_tenants[0], "read")))
    with connected(logins(database_url, "sspp_api")) as connection:
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
    logins: Callable[[str, str], str],
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

    with connected(logins(database_url, "sspp_api")) as connection:
        assert connection.execute("SELECT slug FROM find_api_key(%s)", (prefix,)).fetchall() == [("one",)]
    with connect(database_url) as connection:
        owners = connection.execute(
            "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert owners == [(name,)]


def test_analysts_read_what_is_stored_of_all_tenants(
    database_url: str, logins: Callable[[str, str], str], two_tenants: tuple[int, int]
) -> None:
    with connected(logins(database_url, "sspp_reporting")) as connection:
        for table in ("events", "signals", "customers", "rejected_events"):
            found = connection.execute(f"SELECT tenant_id FROM {table} ORDER BY 1").fetchall()
            assert [tenant for (tenant,) in found] == list(two_tenants), table


def test_no_connection_carries_a_tenant_over_to_the_next_request(
    environment: dict[str, str], api_serving: Any, api_store: Any
) -> None:
    """More requests at once than there are connections, of two tenants and of some that fail, many times over."""
    keys = {}
    for slug in ("one", "two"):
        tenant = api_store.tenant(slug)
        api_store.event(tenant, f"event of {slug}")
        keys[slug] = api_store.key(tenant, "read")
    with api_serving(environment) as client:

        def ask(number: int) -> None:
            slug = ("one", "two")[number % 2]
            headers = {"Authorization": f"Bearer {keys[slug]}"}
            if number % 5 == 0:  # a transaction that fails in the middle
                client.get("/v1/signals", params={"cursor": "x"}, headers=headers)
            found = client.get("/v1/signals", headers=headers)
            assert [item["event_id"] for item in found.json()["items"]] == [f"event of {slug}"]

        with ThreadPoolExecutor(16) as threads:
            list(threads.map(ask, range(400)))


def test_what_was_set_for_a_transaction_ends_with_it(
    database_url: str, logins: Callable[[str, str], str], two_tenants: tuple[int, int]
) -> None:
    with psycopg.connect(logins(database_url, "sspp_api")) as connection:
        for end in (connection.commit, connection.rollback):
            connection.execute(SET_TENANCY, of_tenant(two_tenants[0]))
            assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)
            end()
            assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)
            connection.rollback()


def test_the_api_works_with_nothing_but_its_role(api: httpx.Client, api_store: Any, api_tenant: int) -> None:
    api_store.event(api_tenant, "e1")

    assert [item["event_id"] for item in api.get("/v1/signals").json()["items"]] == ["e1"]
    assert api.get("/readyz").status_code == 200
    assert "sspp_outbox" in api.get("/metrics").text
