"""Whose log of calls has what was tried with a key that does not open."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sending import bearer

from common.tenancy.secrets import parse_prefix

PAST = datetime(2026, 1, 1, tzinfo=UTC)


def calls(api_store: Any, tenant: int) -> list[tuple[Any, ...]]:
    statement = "SELECT key_prefix, status FROM api_logs WHERE tenant_id = %s ORDER BY received_at, log_id"
    return list(api_store.execute(statement, (tenant,)))


@pytest.mark.parametrize(
    ("life", "change", "status"),
    [
        ({"revoked_at": PAST}, "", 401),
        ({"expires_at": PAST}, "", 401),
        ({}, "UPDATE tenants SET status = 'suspended' WHERE slug = 'acme'", 403),
    ],
)
def test_calls_with_a_key_that_no_longer_opens_are_in_its_tenants_log(
    environment: dict[str, str],
    api_serving: Any,
    api_store: Any,
    api_tenant: int,
    life: dict[str, datetime],
    change: str,
    status: int,
) -> None:
    key = api_store.key(api_tenant, "read", "ingest", **life)
    if change:
        api_store.execute(change)
    with api_serving(environment, key) as client:
        # Twice: as PostgreSQL says, and as the process remembers; and past the framework.
        for method, path in (("GET", "/v1/signals"), ("GET", "/v1/signals"), ("POST", "/v1/events")):
            assert client.request(method, path).status_code == status

    assert calls(api_store, api_tenant) == [(parse_prefix(key), status)] * 3
    assert calls(api_store, 0) == []
    assert api_store.execute("SELECT last_used_at FROM api_keys") == [(None,)]


def test_no_guess_gets_into_a_tenants_log(
    environment: dict[str, str], api_serving: Any, api_store: Any, api_tenant: int
) -> None:
    forged = [api_store.key(api_tenant, "read")[:-8] + "AAAAAAAA"]
    forged += [api_store.key(api_tenant, "read", revoked_at=PAST)[:-8] + "AAAAAAAA"]
    gone = api_store.key(api_store.tenant("gone"), "read")
    api_store.execute("UPDATE tenants SET status = 'deleted' WHERE slug = 'gone'")
    with api_serving(environment) as client:
        for key in [*forged, *forged, gone]:
            assert client.get("/v1/signals", headers=bearer(key)).status_code == 401

    assert calls(api_store, 0) == [(None, 401)] * 5
    assert api_store.execute("SELECT count(*) FROM api_logs") == [(5,)]
