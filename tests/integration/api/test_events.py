"""What the routes of events and of their types answer from PostgreSQL."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from own_event_types import first_version
from pages import ids, walk

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_an_event_is_shown_exactly_as_received(api: httpx.Client, api_store: Any, api_tenant: int) -> None:
    raw = '{"event_id":"a/ü", "data":{"n":1.10,"s":"\\u0000\\ud800"},\n "data2":1e999}'
    signal_id = api_store.event(api_tenant, "a/ü", raw=raw, trace_id="t1")

    for path in ("/v1/events/a%2F%C3%BC", "/v1/events/a/%C3%BC"):
        answer = api.get(path)
        assert answer.status_code == 200, answer.text
        assert raw in answer.text
        body = answer.json()
        assert body["event_id"] == "a/ü"
        assert body["signals"] == [str(signal_id)]
        assert "code" not in body


def test_an_event_is_stored_until_its_batch_is_indexed(
    api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    signal_id = api_store.event(api_tenant, "e1", batch_id=7)
    api_store.execute(
        "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until)"
        " VALUES (7, %s, %s, now(), now())",
        (api_tenant, [signal_id]),
    )
    assert api.get("/v1/events/e1").json()["status"] == "stored"
    api_store.execute("UPDATE outbox SET indexed_at = now()")
    assert api.get("/v1/events/e1").json()["status"] == "indexed"
    api_store.execute("DELETE FROM outbox")
    assert api.get("/v1/events/e1").json()["status"] == "indexed"


def test_an_event_is_unknown_then_rejected_then_stored(
    api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    answer = api.get("/v1/events/e1")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    api_store.rejection(api_tenant, "e1")
    body = api.get("/v1/events/e1").json()
    assert body["status"] == "rejected"
    assert body["code"] == "schema_violation"
    assert body["path"] == "/data/amount"
    assert body["event"]["data"] == {"amount": -5}

    api_store.event(api_tenant, "e1", signal_type=None)
    body = api.get("/v1/events/e1").json()
    assert (body["status"], body["signals"]) == ("indexed", [])


def test_a_trace_lists_its_events_in_order(api: httpx.Client, api_store: Any, api_tenant: int) -> None:
    for number in range(5):
        # Received in another order, on several days of two months.
        api_store.event(
            api_tenant,
            f"e{number}",
            trace_id="t1",
            occurred_at=NOON - number * HOUR,
            received_at=NOON - (number * 17 % 5) * timedelta(days=9),
        )
    other = api_store.event(api_tenant, "other", trace_id="t2")

    assert walk(api, "/v1/events", trace_id="t1", limit=2) == ["e4", "e3", "e2", "e1", "e0"]
    [item] = api.get("/v1/events", params={"trace_id": "t2"}).json()["items"]
    assert item["signals"] == [str(other)]
    assert ids(api, "/v1/events", trace_id="t3") == []
    assert api.get("/v1/events").status_code == 422


def test_the_platforms_and_the_tenants_own_are_listed(
    api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    stranger = api_store.tenant("stranger")
    for tenant_id, name in ((api_tenant, "aaa.visit"), (stranger, "aaa.secret")):
        api_store.execute(
            "INSERT INTO event_types (tenant_id, event_type, version, schema, signal_type, signal_score)"
            """ VALUES (%s, %s, 1, '{"type": "object", "maximum": 1.10}', 'intent', 0.3)""",
            (tenant_id, name),
        )
    answer = api.get("/v1/event-types", params={"limit": 500})
    first, *others = answer.json()["items"]
    assert first.pop("created_at").endswith("Z")
    shown = {"signal_type": "intent", "signal_score": 0.3}
    assert first == first_version("aaa.visit", {"type": "object", "maximum": 1.10}, **shown)
    assert "1.10" in answer.text
    names = [item["name"] for item in others]
    assert "purchase" in names
    assert "aaa.secret" not in names
    assert {item["owner"] for item in others} == {"platform"}
    assert walk(api, "/v1/event-types", "name", limit=3) == ["aaa.visit", *names]
    assert json.loads(answer.text)["next_cursor"] is None
