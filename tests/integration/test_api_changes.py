"""What the reading API changes: profiles and replays, both by way of the queue."""

import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from common.queue.streams import LANES, Entry, decode_entry
from common.redis import open_redis

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def queued(redis_url: str) -> list[Entry]:
    with open_redis(redis_url) as client:
        entries: Any = [(lane, *entry) for lane in LANES for entry in client.xrange(lane)]
    return [decode_entry(lane, entry_id, fields) for lane, entry_id, fields in entries]


class TestProfiles:
    def test_a_change_goes_in_as_an_event_with_its_numbers_exact(
        self, api: httpx.Client, api_tenant: int, redis_url: str
    ) -> None:
        body = b'{"email": "ada@example.com", "phone": null, "custom_fields": {"limit": 1.10, "old": null}}'
        answer = api.patch(
            "/v1/customers/a%2Fb", content=body, headers={"Content-Type": "application/merge-patch+json"}
        )
        assert answer.status_code == 202, answer.text
        [entry] = queued(redis_url)
        [record] = entry.records
        assert entry.tenant_id == api_tenant
        assert record.event_id == answer.json()["event_id"]
        assert body in record.raw
        event = json.loads(record.raw)
        assert event["event_id"] == record.event_id
        assert (event["event_type"], event["customer_id"]) == ("customer_updated", "a/b")
        assert datetime.fromisoformat(event["occurred_at"]) == record.received_at

    def test_what_could_not_be_applied_is_refused_at_once(self, api: httpx.Client, redis_url: str) -> None:
        for body, pointer in (
            ("{}", ""),
            ("[]", ""),
            ('{"email": "nobody"}', "/email"),
            ('{"email": "a@b\\n"}', "/email"),
            ('{"email": "a@\\ufeff"}', "/email"),
            ('{"name": ""}', "/name"),
            ('{"age": 3}', ""),
            ('{"tags": null}', "/tags"),
            ('{"tags": ["a", 1]}', "/tags/1"),
            ('{"tags": ["a", "a"]}', ""),
            ('{"custom_fields": []}', "/custom_fields"),
            ("{", ""),
        ):
            answer = api.patch("/v1/customers/c1", content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), body
            assert answer.json()["errors"][0]["pointer"] == pointer, body
        deep = '{"custom_fields": {"a": ' + "[" * 50 + "]" * 50 + "}}"
        answer = api.patch("/v1/customers/c1", content=deep, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (422, "nesting_too_deep")
        deeper = '{"custom_fields": {"a": ' + "[" * 900 + '"\\u0000"' + "]" * 900 + "}}"
        answer = api.patch("/v1/customers/c1", content=deeper, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (422, "nesting_too_deep")
        answer = api.patch("/v1/customers/" + "x" * 201, json={"name": "Ada"})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert answer.json()["errors"][0]["parameter"] == "customer_id"
        answer = api.patch("/v1/customers/c1", content="name=Ada")
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
        answer = api.patch("/v1/customers/c1", json={"name": "x" * 300_000})
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert queued(redis_url) == []

    @pytest.mark.parametrize(
        ("body", "code", "pointer"),
        [
            ('{"name": "a\\u0000"}', "unsupported_character", "/name"),
            ('{"tags": ["x", "a\\u0000"]}', "unsupported_character", "/tags/1"),
            ('{"custom_fields": {"a": {"b": 1e400}}}', "number_out_of_range", "/custom_fields/a/b"),
            ('{"custom_fields": {"a": [0, 9.9e308]}}', "number_out_of_range", "/custom_fields/a/1"),
        ],
    )
    def test_what_no_store_could_hold_is_refused_at_once_with_its_place(
        self, api: httpx.Client, redis_url: str, body: str, code: str, pointer: str
    ) -> None:
        answer = api.patch("/v1/customers/c1", content=body, headers={"Content-Type": "application/json"})

        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert answer.json()["errors"][0]["pointer"] == pointer
        assert queued(redis_url) == []


class TestRejected:
    def test_refusals_are_listed_with_reason_and_raw_event(
        self, api: httpx.Client, api_store: Any, api_tenant: int
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


class TestReplay:
    def replay(self, api: httpx.Client, key: str, **body: Any) -> dict[str, Any]:
        answer = api.post("/v1/rejected/replay", json=body, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def test_refused_events_go_through_again_as_they_came_and_once(
        self, api: httpx.Client, api_store: Any, api_tenant: int, redis_url: str
    ) -> None:
        admin = api_store.key(api_tenant, "admin")
        raw = '{"no_id": 1.10}'
        for number in range(3):
            api_store.rejection(api_tenant, f"r{number}", raw=raw, rejected_at=NOON + timedelta(hours=number))

        assert self.replay(api, admin, limit=2) == {"replayed": 2, "more": True}
        assert self.replay(api, admin) == {"replayed": 1, "more": False}
        assert self.replay(api, admin) == {"replayed": 0, "more": False}

        records = [record for entry in queued(redis_url) for record in entry.records]
        assert [record.event_id for record in records] == ["r0", "r1", "r2"]
        assert {record.raw for record in records} == {raw.encode()}
        assert records[0].received_at == NOON - timedelta(seconds=1)
        assert api.get("/v1/rejected").json()["items"] == []
        [item, *_] = api.get("/v1/rejected", params={"status": "replayed"}).json()["items"]
        assert item["replayed_at"]

    def test_only_what_the_filter_names_is_replayed(
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
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
            assert self.replay(api, admin, **body) == {"replayed": 1, "more": False}, body

    def test_many_are_replayed_in_bounded_portions(
        self, api: httpx.Client, api_store: Any, api_tenant: int, redis_url: str
    ) -> None:
        api_store.execute(
            "INSERT INTO rejected_events (rejection_id, tenant_id, event_id, event_type, customer_id, received_at,"
            " code, detail, path, raw)"
            " SELECT gen_random_uuid(), %s, 'r' || n, 'x', 'c1', now(), 'c', 'd', '', '{}'"
            " FROM generate_series(1, 250) AS n",
            (api_tenant,),
        )
        admin = api_store.key(api_tenant, "admin")
        assert self.replay(api, admin, limit=230) == {"replayed": 230, "more": True}
        assert self.replay(api, admin, limit=230) == {"replayed": 20, "more": False}
        assert len({record.event_id for entry in queued(redis_url) for record in entry.records}) == 250

    def test_nothing_is_marked_unless_it_is_durable(
        self, environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any
    ) -> None:
        api_store.rejection(api_tenant, "r1")
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            nowhere = f"redis://127.0.0.1:{held.getsockname()[1]}/0"
            key = api_store.key(api_tenant, "admin")
            with api_serving({**environment, "REDIS_URL": nowhere}, key) as client:
                answer = client.post("/v1/rejected/replay")
                assert (answer.status_code, answer.json()["code"]) == (503, "queue_unavailable")
                assert len(client.get("/v1/rejected").json()["items"]) == 1

    def test_a_body_that_makes_no_sense_is_refused(
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
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
