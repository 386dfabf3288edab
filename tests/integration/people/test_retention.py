"""Retention of single tenants: what is too old goes from every store, of this tenant alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from people import MARK, OTHER_TENANT, TENANT, People, event

from common.errors import SearchUnavailableError
from common.search.client import open_client
from common.tenancy.tenants import TenantError, change_tenant
from worker.maintenance import retention
from worker.maintenance.retention import expire_tenants

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OLD, YOUNG = NOW - timedelta(days=31), NOW - timedelta(days=29)


def keep(people: People, days: int) -> None:
    with people.pipeline.pool.connection() as connection:
        change_tenant(connection, "seven", retention_days=days)


def expire(people: People, now: datetime = NOW, search: Elasticsearch | None = None) -> dict[str, int]:
    return expire_tenants(people.pipeline.pool, search or people.search, lambda: now)


def events(people: People, tenant: int = TENANT) -> list[str]:
    rows = people.pipeline.rows(
        "SELECT event_id FROM events WHERE tenant_id = %(tenant)s ORDER BY 1", tenant=tenant
    )
    return [row["event_id"] for row in rows]


def send(people: People, name: str, received_at: datetime, tenant: int = TENANT) -> None:
    people.send(event(name), event(f"{name}-x", kind="visit"), received_at=received_at, tenant=tenant)


def test_what_is_older_goes_and_all_else_stays(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    for number in range(5):
        send(people, f"old{number}", OLD)
    send(people, "young", YOUNG)
    send(people, "old", OLD, OTHER_TENANT)
    keep(people, 30)

    assert expire(people) == {"tenant_rows_expired": 15, "tenant_documents_expired": 5}

    assert (events(people), events(people, OTHER_TENANT)) == (["young"], ["old"])
    assert [
        row["event_id"] for row in people.pipeline.rows("SELECT event_id FROM signals WHERE tenant_id = 7")
    ] == ["young"]
    assert people.count("rejected_events") == 1
    assert sorted(each["event_id"] for each in people.documents().values()) == ["old", "young"]
    (customer,) = people.pipeline.rows(
        "SELECT signal_count FROM customers WHERE tenant_id = 7 AND customer_id = %(mark)s", mark=MARK
    )
    assert customer["signal_count"] == 6


def test_an_hour_later_it_looks_again_at_what_became_old(people: People) -> None:
    send(people, "young", YOUNG)
    keep(people, 30)
    assert expire(people)["tenant_rows_expired"] == 0
    assert expire(people, NOW + timedelta(minutes=59))["tenant_rows_expired"] == 0

    assert expire(people, NOW + timedelta(days=2))["tenant_rows_expired"] == 3
    assert events(people) == []


def test_without_a_retention_of_its_own_a_tenant_keeps_everything(people: People) -> None:
    send(people, "old", OLD)
    keep(people, 30)
    keep(people, 0)

    assert expire(people)["tenant_rows_expired"] == 0
    assert events(people) == ["old"]


def test_what_search_could_not_delete_is_deleted_by_the_next_run(people: People) -> None:
    send(people, "old", OLD)
    keep(people, 30)
    with open_client("http://127.0.0.1:1") as away, pytest.raises(SearchUnavailableError):
        expire(people, search=away)
    assert len(people.documents()) == 1

    assert expire(people) == {"tenant_rows_expired": 0, "tenant_documents_expired": 1}


def test_it_is_set_over_http_by_the_tenants_administrator(people: People, api_store: Any) -> None:
    for wanted, kept in ((30, 30), (None, None)):
        answer = people.api.patch("/v1/admin/tenants/seven", json={"retention_days": wanted})
        assert (answer.status_code, answer.json()["retention_days"]) == (200, kept)
    assert people.api.patch("/v1/admin/tenants/seven", json={"retention_days": 0}).status_code == 422
    assert api_store.execute("SELECT retention_days FROM tenants WHERE tenant_id = 8") == [(None,)]


@pytest.mark.parametrize("days", [-1, 36_501])
def test_no_event_is_kept_for_less_than_a_day_or_more_than_a_century(people: People, days: int) -> None:
    with pytest.raises(TenantError):
        keep(people, days)
