"""The routes of refused events: how they are listed, and pushed into the queue again."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from common.queue.streams import Entry

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_refusals_are_listed_with_reason_and_raw_event(
    api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    for number in range(5):
        api_store.rejection(
            api_tenant,
            f"r{number}",
            code="unknown_event_type" if number % 2 else "schema_violation",
            event_type="visit" if number == 3 else "purchase",
            rejected_at=NOON + timedelta(hours=number),
            raw='{"n": 1.10}',
        )

    def ids(**parameters: Any) -> list[str]:
        items = api.get("/v1/rejected", params=parameters).json()["items"]
        return [item["event_id"] for item in items]

    assert ids() == ["r4", "r3", "r2", "r1", "r0"]
    assert ids(code="unknown_event_type") == ["r3", "r1"]
    assert ids(event_type=["visit", "nothing"]) == ["r3"]
    assert ids(since="2026-11-21T13:00:00Z", until="2026-11-21T15:00:00Z") == ["r2", "r1"]
    assert ids(status="replayed") == []
    answer = api.get("/v1/rejected", params={"limit": 3})
    assert '"event":{"n": 1.10}' in answer.text
    [first, *_] = answer.json()["items"]
    assert (first["code"], first["path"], first["status"]) == ("schema_violation", "/data/amount", "open")
    assert api.get(f"/v1/rejected/{first['rejection_id']}").json() == first
    assert api.get("/v1/rejected/3f0c8a52-91d7-8b44-a3c1-5e7d20f19600").status_code == 404
    following = ids(limit=3, cursor=answer.json()["next_cursor"])
    assert following == ["r1", "r0"]


def replay(api: httpx.Client, key: str, **body: Any) -> dict[str, Any]:
    answer = api.post("/v1/rejected/replay", json=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_refused_events_go_through_again_as_they_came_and_once(
    api: httpx.Client, api_store: Any, api_tenant: int, queued: Callable[[], list[Entry]]
) -> None:
    admin = api_store.key(api_tenant, "admin")
    raw = '{"no_id": 1.10}'
    for number in range(3):
        api_store.rejection(api_tenant, f"r{number}", raw=raw, rejected_at=NOON + timedelta(hours=number))

    assert replay(api, admin, limit=2) == {"replayed": 2, "more": True}
    assert replay(api, admin) == {"replayed": 1, "more": False}
    assert replay(api, admin) == {"replayed": 0, "more": False}

    records = [record for entry in queued() for record in entry.records]
    assert [record.event_id for record in records] == ["r0", "r1", "r2"]
    assert {record.raw for record in records} == {raw.encode()}
    assert records[0].received_at == NOON - timedelta(seconds=1)
    assert api.get("/v1/rejected").json()["items"] == []
    [item, *_] = api.get("/v1/rejected", params={"status": "replayed"}).json()["items"]
    assert item["replayed_at"]


def test_only_what_the_filter_names_is_replayed(api: httpx.Client, api_store: Any, api_tenant: int) -> None:
    admin = api_store.key(api_tenant, "admin")
    named = api_store.rejection(api_tenant, "named")
    api_store.rejection(api_tenant, "coded", code="unknown_event_type")
    api_store.rejection(api_tenant, "typed", event_type="visit")
    api_store.rejection(api_tenant, "late", rejected_at=NOON + timedelta(days=1))

    for body in (
        {"ids": [str(named)]},
        {"code": "unknown_event_type"},
        {"event_type": "visit"},
        {"since": "2026-11-22", "until": "2026-11-23"},
    ):
        assert replay(api, admin, **body) == {"replayed": 1, "more": False}, body


def test_many_are_replayed_in_bounded_portions(
    api: httpx.Client, api_store: Any, api_tenant: int, queued: Callable[[], list[Entry]]
) -> None:
    api_store.execute(
        "INSERT INTO rejected_events (rejection_id, tenant_id, event_id, event_type, customer_id, received_at,"
        " code, detail, path, raw)"
        " SELECT gen_random_uuid(), %s, 'r' || n, 'x', 'c1', now(), 'c', 'd', '', '{}'"
        " FROM generate_series(1, 250) AS n",
        (api_tenant,),
    )
    admin = api_store.key(api_tenant, "admin")
    assert replay(api, admin, limit=230) == {"replayed": 230, "more": True}
    assert replay(api, admin, limit=230) == {"replayed": 20, "more": False}
    assert len({record.event_id for entry in queued() for record in entry.records}) == 250


def test_nothing_is_marked_unless_it_is_durable(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any, unserved_port: int
) -> None:
    api_store.rejection(api_tenant, "r1")
    nowhere = f"redis://127.0.0.1:{unserved_port}/0"
    key = api_store.key(api_tenant, "admin")
    with api_serving({**environment, "REDIS_URL": nowhere}, key) as client:
        answer = client.post("/v1/rejected/replay")
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_unavailable")
        assert len(client.get("/v1/rejected").json()["items"]) == 1


def test_a_body_that_makes_no_sense_is_refused(api: httpx.Client, api_store: Any, api_tenant: int) -> None:
    admin = {"Authorization": f"Bearer {api_store.key(api_tenant, 'admin')}"}
    for body, pointer in (
        ({"codes": "x"}, ""),
        ({"ids": ["x"]}, "/ids/0"),
        ({"ids": []}, "/ids"),
        ({"limit": 1001}, "/limit"),
        ({"since": "yesterday"}, "/since"),
        ({"code": "\0"}, "/code"),
    ):
        answer = api.post("/v1/rejected/replay", json=body, headers=admin)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), body
    assert api.post("/v1/rejected/replay", content="x", headers=admin).status_code == 415
