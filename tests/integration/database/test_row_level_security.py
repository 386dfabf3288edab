"""What the database itself keeps apart, whatever the code says."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from connecting import ConnectAs

from common.database.tenancy import PLATFORM_AFFAIR, SET_TENANCY, of_tenant

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
    connected_as: ConnectAs, two_tenants: tuple[int, int]
) -> None:
    for tenancy in (None, of_tenant(None)):
        with connected_as("sspp_api", tenancy) as connection:
            for table in {*STORED, "tenants", "api_keys"} - {"event_types", "index_failures"}:
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
            # The platform's own types are everybody's.
            assert connection.execute("SELECT DISTINCT tenant_id FROM event_types").fetchall() == [(0,)]


def test_the_apis_role_sees_and_changes_only_the_tenant_of_its_transaction(
    connected_as: ConnectAs, two_tenants: tuple[int, int]
) -> None:
    one, two = two_tenants
    with connected_as("sspp_api", of_tenant(one)) as connection:
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
    connected_as: ConnectAs, two_tenants: tuple[int, int]
) -> None:
    with connected_as("sspp_api", PLATFORM_AFFAIR) as connection:
        for table in ("events", "event_keys", "signals", "customers", "rejected_events"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        assert connection.execute("SELECT count(*) FROM tenants WHERE tenant_id > 0").fetchone() == (2,)


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
    connected_as: ConnectAs, two_tenants: tuple[int, int]
) -> None:
    with connected_as("sspp_api") as connection:
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
