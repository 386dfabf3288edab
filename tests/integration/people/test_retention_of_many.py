"""Retention of many tenants at once, each with a limit of its own."""

from datetime import UTC, datetime, timedelta

import pytest
from people import TENANT, People, event

from worker.maintenance import retention
from worker.maintenance.retention import expire_tenants

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LIMITS = {7: 10, 8: 20, 9: 30, 10: None}


def expire(people: People, now: datetime = NOW) -> int:
    return expire_tenants(people.pipeline.pool, people.search, lambda: now)["tenant_rows_expired"]


def keep(people: People, tenant: int, days: int | None) -> None:
    with people.pipeline.pool.connection() as connection:
        connection.execute(
            "INSERT INTO tenants (tenant_id, slug, name, retention_days)"
            " VALUES (%(tenant)s, 't' || %(tenant)s, 'T', %(days)s)"
            " ON CONFLICT (tenant_id) DO UPDATE SET retention_days = excluded.retention_days",
            {"tenant": tenant, "days": days},
        )


def send(people: People, name: str, age: timedelta, tenant: int = TENANT) -> None:
    people.send(event(name), event(f"{name}-x", kind="visit"), received_at=NOW - age, tenant=tenant)


def kept(people: People, table: str) -> set[tuple[int, str]]:
    rows = people.pipeline.rows(f"SELECT tenant_id, event_id FROM {table}")
    return {(row["tenant_id"], row["event_id"]) for row in rows}


@pytest.mark.parametrize("batch", [3, 10_000])
def test_one_pass_takes_from_each_tenant_what_is_too_old_for_it(
    people: People, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(retention, "_BATCH", batch)
    ages = range(5, 50, 10)
    for tenant, limit in LIMITS.items():
        keep(people, tenant, limit)
        for days in ages:
            send(people, f"{days}", days * DAY, tenant)

    assert expire(people) == 3 * (4 + 3 + 2)

    young = {(tenant, f"{days}") for tenant, limit in LIMITS.items() for days in ages if days < (limit or 99)}
    refused = {(tenant, f"{event_id}-x") for tenant, event_id in young}
    assert kept(people, "events") == kept(people, "signals") == young
    assert kept(people, "rejected_events") == refused
    assert {(each["tenant_id"], each["event_id"]) for each in people.documents().values()} == young


def test_what_was_still_queued_when_its_time_was_over_is_found_within_a_day(people: People) -> None:
    keep(people, TENANT, 10)
    expire(people)
    send(people, "queued", 10 * DAY)
    for hours in range(1, 24, 2):
        expire(people, NOW + hours * HOUR)
    send(people, "queued for nearly a day more", 10 * DAY)
    assert expire(people, NOW + 25 * HOUR) > 0

    assert kept(people, "events") == kept(people, "signals") == set()
    assert people.documents() == {}
