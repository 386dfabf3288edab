"""What becomes of the data of a tenant that is deleted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from common.tenancy.tenants import TenantError, change_tenant, set_status
from worker.maintenance import upkeep as maintenance
from worker.maintenance.upkeep import delete_customers_of_deleted_tenants

DAY = timedelta(days=1)


@pytest.fixture
def deleted(api_store: Any, connection: psycopg.Connection[Any]) -> datetime:
    """Two tenants with three customers each, of which one is deleted; returns since when."""
    for slug in ("gone", "other"):
        tenant = api_store.tenant(slug)
        for number in range(3):
            api_store.customer(tenant, f"c{number}")
    return set_status(connection, "gone", "deleted").status_since


def customers(api_store: Any) -> dict[str, int]:
    return dict(
        api_store.execute("SELECT slug, count(*) FROM customers JOIN tenants USING (tenant_id) GROUP BY slug")
    )


@pytest.mark.usefixtures("deleted")
def test_how_long_its_data_is_kept_can_be_changed_and_nothing_else(
    connection: psycopg.Connection[Any],
) -> None:
    assert change_tenant(connection, "gone", retention_days=1).retention_days == 1
    for change in ({"plan": "pro"}, {"allowed_origins": []}, {"plan": "pro", "retention_days": 2}):
        with pytest.raises(TenantError, match="deleted, for good"):
            change_tenant(connection, "gone", **change)  # type: ignore[arg-type]
    assert change_tenant(connection, "gone", retention_days=0).retention_days is None


def test_its_customers_go_a_day_after_the_last_it_can_have_sent_has_expired(
    api_store: Any, pool: ConnectionPool, deleted: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_CUSTOMER_BATCH", 2)

    def run(expired_until: datetime | None, cutoff: datetime | None = None) -> int:
        api_store.execute("UPDATE tenants SET expired_until = %s", (expired_until,))
        with pool.connection() as connection:
            return delete_customers_of_deleted_tenants(connection, cutoff)

    assert run(None) == run(deleted + DAY) == run(None, deleted + DAY) == 0
    assert customers(api_store) == {"gone": 3, "other": 3}

    assert run(deleted + DAY + timedelta(seconds=1)) == 3
    assert customers(api_store) == {"other": 3}


def test_they_go_with_the_platforms_retention_as_well(
    api_store: Any, pool: ConnectionPool, deleted: datetime
) -> None:
    with pool.connection() as connection:
        assert delete_customers_of_deleted_tenants(connection, deleted + 2 * DAY) == 3

    assert customers(api_store) == {"other": 3}
    assert deleted < datetime.now(UTC)
