"""Usage agrees with the store, whatever happens; and the monthly quota goes by it."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from ingest_pipeline import IngestPipeline as Pipeline
from typer.testing import CliRunner

from common.errors import DatabaseUnavailableError
from infrastructure.cli.main import app
from worker.maintenance.upkeep import fold_usage

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)

USED = """
SELECT tenant_id, month::text, sum(events)::integer
FROM (SELECT tenant_id, month, events FROM usage UNION ALL SELECT tenant_id, month, events FROM usage_parts) AS counted
GROUP BY 1, 2 ORDER BY 1, 2
"""
STORED = """
SELECT tenant_id, date_trunc('month', received_at AT TIME ZONE 'UTC')::date::text, count(*)::integer
FROM events GROUP BY 1, 2 ORDER BY 1, 2
"""


def purchase(event_id: str, amount: int = 10) -> bytes:
    data = {"amount": amount, "currency": "USD"}
    envelope = {"event_id": event_id, "event_type": "purchase", "customer_id": "c1", "data": data}
    return json.dumps(envelope).encode()


def counted(pipeline: Pipeline, query: str = USED) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in pipeline.rows(query)]


def fold(pipeline: Pipeline) -> int:
    with pipeline.pool.connection() as connection:
        return fold_usage(connection)


def test_each_new_event_counts_once_for_its_tenant_and_month(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1"), purchase("e2"), purchase("e1"), purchase("refused", -5))
    pipeline.push(purchase("e3"), received_at=OCTOBER)
    pipeline.push(purchase("e1"), tenant=8)
    pipeline.drain()
    pipeline.push(purchase("e1"), purchase("e4"))  # one is known by now
    pipeline.drain()

    assert counted(pipeline) == [(7, "2026-10-01", 1), (7, "2026-11-01", 3), (8, "2026-11-01", 1)]
    assert counted(pipeline) == counted(pipeline, STORED)


def test_what_was_not_stored_does_not_count_and_what_is_stored_again_not_twice(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise DatabaseUnavailableError

    pipeline.push(purchase("e1"), purchase("e2"))
    stage = pipeline.stage()
    with monkeypatch.context() as patched:
        patched.setattr("worker.store.batch.change_customers", away)
        with pytest.raises(DatabaseUnavailableError):
            stage.step(0)
    assert counted(pipeline) == []

    acknowledge = stage._consumer.acknowledge
    monkeypatch.setattr(stage._consumer, "acknowledge", away)
    with pytest.raises(DatabaseUnavailableError):
        stage.step(0)
    monkeypatch.setattr(stage._consumer, "acknowledge", acknowledge)
    stage.step(0)
    stage.close()

    assert counted(pipeline) == counted(pipeline, STORED) == [(7, "2026-11-01", 2)]


def test_upkeep_folds_parts_without_a_sum_that_is_ever_wrong(pipeline: Pipeline) -> None:
    for number in range(30):
        pipeline.push(purchase(f"e{number}"), tenant=(7, 8)[number % 2])
        pipeline.drain()
    before = counted(pipeline)
    assert before == counted(pipeline, STORED)

    with ThreadPoolExecutor(4) as threads:
        folds = [threads.submit(fold, pipeline) for _ in range(3)]
        looks = [threads.submit(counted, pipeline) for _ in range(10)]
        assert sum(each.result() for each in folds) == 30
        assert all(each.result() == before for each in looks)

    assert counted(pipeline, "SELECT count(*) FROM usage_parts") == [(0,)]
    assert counted(pipeline) == before
    pipeline.push(purchase("later"))
    pipeline.drain()
    assert fold(pipeline) == 1
    assert counted(pipeline) == counted(pipeline, STORED)


@pytest.fixture
def use(api_store: Any, api_tenant: int) -> Callable[[int], None]:
    """Says how many events `api_tenant` has used this month; half of them are not folded yet."""

    def use(events: int) -> None:
        api_store.execute("DELETE FROM usage WHERE tenant_id = %s", (api_tenant,))
        api_store.execute("DELETE FROM usage_parts WHERE tenant_id = %s", (api_tenant,))
        month = "date_trunc('month', now())::date"
        api_store.execute(f"INSERT INTO usage VALUES (%s, {month}, %s)", (api_tenant, events // 2))
        part = (api_tenant, events - events // 2)
        api_store.execute(f"INSERT INTO usage_parts VALUES (%s, {month}, 1, %s)", part)

    return use


def test_a_used_up_month_stops_sending_and_not_reading(
    api: httpx.Client, api_store: Any, use: Callable[[int], None], until: Any
) -> None:
    api_store.execute("UPDATE plans SET monthly_events = 101 WHERE plan = 'pro'")
    api_store.execute("UPDATE tenants SET plan = 'pro' WHERE slug = 'acme'")
    event = json.loads(purchase("e1"))
    use(100)
    assert api.post("/v1/events", json=event).status_code == 202

    use(101)
    until(lambda: api.post("/v1/events", json=event).status_code == 429, timeout=2)

    refusal = api.post("/v1/events", content=b"never looked at", headers={"Content-Type": "application/json"})
    assert (refusal.status_code, refusal.json()["code"]) == (429, "quota_exceeded")
    assert 1 <= int(refusal.headers["retry-after"]) <= 31 * 86400
    assert api.patch("/v1/customers/c1", json={"name": "Ada"}).json()["code"] == "quota_exceeded"
    assert api.get("/v1/signals").status_code == 200
    api_store.execute("UPDATE plans SET monthly_events = 102 WHERE plan = 'pro'")
    until(lambda: api.post("/v1/events", json=event).status_code == 202, timeout=2)


def test_a_used_up_month_stops_replays_too(
    api: httpx.Client, api_store: Any, api_tenant: int, use: Callable[[int], None], until: Any
) -> None:
    api_store.execute("UPDATE plans SET monthly_events = 150 WHERE plan = 'pro'")
    api_store.execute("UPDATE tenants SET plan = 'pro' WHERE slug = 'acme'")
    for number in range(250):
        api_store.rejection(api_tenant, f"e{number}")
    own = {"Authorization": f"Bearer {api_store.key(api_tenant, 'tenant_admin')}"}

    def replay() -> httpx.Response:
        return api.post("/v1/rejected/replay", json={"limit": 50}, headers=own)

    use(150)
    until(lambda: replay().status_code == 429, timeout=2)
    refusal = replay()
    assert (refusal.json()["code"], "retry-after" in refusal.headers) == ("quota_exceeded", True)
    count = "SELECT count(*) FROM rejected_events WHERE tenant_id = %s AND status = 'open'"
    [(open_ones,)] = api_store.execute(count, (api_tenant,))

    use(149)
    until(lambda: replay().status_code == 200, timeout=2)
    [(left,)] = api_store.execute(count, (api_tenant,))
    assert left == open_ones - 50
    # One replay is held against the quota by what it has sent itself, chunk by chunk.
    answer = api.post("/v1/rejected/replay", json={"limit": 200}, headers=own)
    assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded")
    assert api_store.execute(count, (api_tenant,)) == [(left - 100,)]


def test_a_tenant_sees_its_plan_and_usage(
    api: httpx.Client, api_store: Any, api_tenant: int, use: Callable[[int], None]
) -> None:
    unlimited = dict.fromkeys(("requests_per_second", "events_per_second", "monthly_events"))
    assert api.get("/v1/usage").json() == {"plan": "enterprise", **unlimited, "months": []}

    use(7)
    api_store.execute("INSERT INTO usage VALUES (%s, '2020-02-01', 5)", (api_tenant,))
    api_store.execute("INSERT INTO usage VALUES (%s, '2020-02-01', 99)", (api_store.tenant("other"),))

    now = datetime.now(UTC).strftime("%Y-%m")
    assert api.get("/v1/usage").json()["months"] == [
        {"month": now, "events": 7},
        {"month": "2020-02", "events": 5},
    ]


def test_the_command_line_shows_usage_and_changes_plans(
    environment: dict[str, str], api_store: Any, api_tenant: int, use: Callable[[int], None]
) -> None:
    def run(*command: str) -> str:
        done = CliRunner().invoke(app, command, env=environment, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    use(7)
    [shown] = json.loads(run("tenants", "show", "acme", "--json"))
    assert (shown["plan"], shown["events_this_month"]) == ("enterprise", 7)

    run("tenants", "change", "acme", "--plan", "starter")
    run("plans", "set", "starter", "--requests-per-second", "3", "--monthly-events", "none")

    [shown] = json.loads(run("tenants", "show", "acme", "--json"))
    assert shown["plan"] == "starter"
    plans = {plan["plan"]: plan for plan in json.loads(run("plans", "list", "--json"))}
    assert list(plans) == ["trial", "starter", "pro", "enterprise"]
    assert plans["starter"] == {
        "plan": "starter",
        "requests_per_second": 3,
        "events_per_second": 500,
        "monthly_events": None,
    }
    for wrong in ("0", "-1", "many"):
        done = CliRunner().invoke(app, ["plans", "set", "pro", "--events-per-second", wrong], env=environment)
        assert done.exit_code == 2, done.output


def test_plans_are_the_platforms_to_change(api: httpx.Client, api_store: Any, api_tenant: int) -> None:
    platform = {"Authorization": f"Bearer {api_store.key(0, 'admin')}"}
    own = {"Authorization": f"Bearer {api_store.key(api_tenant, 'tenant_admin')}"}
    limits = {"requests_per_second": 20, "events_per_second": None, "monthly_events": 10}

    answer = api.put("/v1/admin/plans/trial", json=limits, headers=platform)

    assert (answer.status_code, answer.json()) == (200, {"plan": "trial", **limits})
    found = api.get("/v1/admin/plans", headers=platform).json()["items"]
    assert [plan["plan"] for plan in found] == ["trial", "starter", "pro", "enterprise"]
    assert found[0] == {"plan": "trial", **limits}
    assert api.put("/v1/admin/plans/gold", json=limits, headers=platform).status_code == 404
    for wrong in ({}, limits | {"events_per_second": 0}, limits | {"price": 1}):
        assert api.put("/v1/admin/plans/trial", json=wrong, headers=platform).status_code == 422
    assert api.get("/v1/admin/plans", headers=own).status_code == 403
    assert api.put("/v1/admin/plans/trial", json=limits, headers=own).status_code == 403
    assert (
        api.patch("/v1/admin/tenants/acme", json={"plan": "enterprise"}, headers=own).json()["code"]
        == "missing_scope"
    )
    changed = api.patch("/v1/admin/tenants/acme", json={"plan": "trial"}, headers=platform)
    assert (changed.status_code, changed.json()["plan"]) == (200, "trial")
