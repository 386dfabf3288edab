"""Two tenants, and connections as a role, for the tests here, which can import the modules beside this one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from api_store import ApiStore

sys.path.insert(0, str(Path(__file__).parent))

from connecting import ConnectAs

from common.database.tenancy import SET_TENANCY


@pytest.fixture
def connected_as(database_url: str, logins: Callable[[str, str], str]) -> ConnectAs:
    @contextmanager
    def connect(role: str, tenancy: Any = None, *, url: str = database_url) -> Iterator[psycopg.Connection]:
        with psycopg.connect(logins(url, role)) as connection:
            if tenancy is not None:
                connection.execute(SET_TENANCY, tenancy)
            yield connection

    return connect


@pytest.fixture
def two_tenants(api_store: ApiStore) -> tuple[int, int]:
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
