"""A tenant's own event types over HTTP: their versions, what they accept, and what violates them."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from worker.guard import GuardLimits, RefusalGuard
from worker.store import Store

SEVEN = 7
VISIT = "/v1/event-types/visit"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Somebody came.",
    "properties": {
        "store": {"type": "string"},
        "items": {"items": {"properties": {"price": {"minimum": 0}}}},
    },
    "required": ["store"],
}


@pytest.fixture
def seven(
    environment: dict[str, str], pipeline: Any, api_store: Any, api_serving: Any
) -> Iterator[httpx.Client]:
    """The API with a key of tenant seven's administrator."""
    # None of these tests is about refusals that are suspiciously many.
    pipeline.guard = RefusalGuard(GuardLimits(max_share=1))
    with api_serving(environment, api_store.key(SEVEN, "tenant_admin")) as client:
        yield client


def put(client: httpx.Client, schema: Any = SCHEMA, *, name: str = "visit", **more: Any) -> httpx.Response:
    return client.put(f"/v1/event-types/{name}", json={"schema": schema, **more})


def change(client: httpx.Client, version: int, status: str) -> httpx.Response:
    return client.patch(f"{VISIT}/versions/{version}", json={"status": status})


def send(pipeline: Any, *data: Any, first: int = 0, tenant: int = SEVEN, event_type: str = "visit") -> None:
    """Events e0, e1 and so on through the queue and a worker."""
    events = [
        {"event_id": f"e{number}", "event_type": event_type, "customer_id": "c1", "data": each}
        for number, each in enumerate(data, first)
    ]
    pipeline.push(*(json.dumps(event).encode() for event in events), tenant=tenant)
    pipeline.drain()


def stored(pipeline: Any) -> list[str]:
    return [row["event_id"] for row in pipeline.rows("SELECT event_id FROM events ORDER BY 1")]


def refused(pipeline: Any) -> dict[str, str]:
    rows = pipeline.rows("SELECT event_id, code FROM rejected_events WHERE status = 'open'")
    return {row["event_id"]: row["code"] for row in rows}


def violations(client: httpx.Client, name: str = "visit") -> list[tuple[int, str, str, int]]:
    page = client.get(f"/v1/event-types/{name}/violations").json()
    assert page["next_cursor"] is None
    return [(each["version"], each["path"], each["keyword"], each["events"]) for each in page["items"]]


class TestVersions:
    def test_the_same_content_again_is_the_same_version_and_other_content_the_next(
        self, seven: httpx.Client
    ) -> None:
        first = put(seven)
        assert (first.status_code, first.headers["location"]) == (201, f"{VISIT}/versions/1")
        made = first.json()
        assert made.pop("created_at").endswith("Z")
        assert made == {
            "name": "visit",
            "version": 1,
            "status": "active",
            "description": "Somebody came.",
            "owner": "tenant",
            "signal_type": "engagement",
            "signal_score": 0.4,
            "schema": SCHEMA,
        }

        again = put(seven, dict(reversed(SCHEMA.items())))
        assert (again.status_code, again.json()) == (200, first.json())
        for version, more in ((2, {"signal_type": "intent"}), (3, {}), (4, {"description": "Other words."})):
            other = put(seven, **more)
            assert (other.status_code, other.json()["version"]) == (201, version)

        found = seven.get(VISIT).json()
        assert [each["version"] for each in found["items"]] == [1, 2, 3, 4]
        assert seven.get(f"{VISIT}/versions/1").json() == first.json() == found["items"][0]
        assert seven.get(f"{VISIT}/versions/5").json()["code"] == "not_found"
        assert seven.get("/v1/event-types/unheard_of").status_code == 404

    def test_versions_are_listed_page_by_page(self, seven: httpx.Client) -> None:
        for score in (0.1, 0.2, 0.3):
            assert put(seven, signal_score=score).status_code == 201

        first = seven.get(VISIT, params={"limit": 2}).json()
        second = seven.get(VISIT, params={"limit": 2, "cursor": first["next_cursor"]}).json()

        scores = [each["signal_score"] for each in first["items"] + second["items"]]
        assert (scores, second["next_cursor"]) == ([0.1, 0.2, 0.3], None)
        other_list = seven.get("/v1/event-types", params={"cursor": first["next_cursor"]})
        assert other_list.status_code == 422

    def test_many_who_register_the_same_at_once_make_one_version_of_it(self, seven: httpx.Client) -> None:
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: put(seven).status_code, range(16)))

        assert sorted(answers) == [200] * 15 + [201]

    def test_a_break_is_refused_with_reasons_unless_it_is_meant(self, seven: httpx.Client) -> None:
        put(seven)
        stricter = {
            **SCHEMA,
            "properties": {"store": {"enum": ["north"]}},
            "required": ["store", "minutes"],
        }

        broken = put(seven, stricter)

        assert (broken.status_code, broken.json()["code"]) == (409, "incompatible_schema")
        assert "version 1" in broken.json()["detail"]
        assert {each["pointer"]: each["detail"] for each in broken.json()["errors"]} == {
            "/schema/properties/store/enum": "accepts only listed values, and accepted others before",
            "/schema/required": "minutes is required from now on",
        }
        assert put(seven, stricter, compatibility="none").json()["version"] == 2
        # What was said once need not be said again.
        assert put(seven, stricter).status_code == 200

    def test_what_a_retired_version_said_counts_no_more(self, seven: httpx.Client) -> None:
        put(seven)
        stricter = SCHEMA | {"required": ["store", "minutes"]}
        assert put(seven, stricter).status_code == 409

        assert change(seven, 1, "retired").json()["status"] == "retired"

        assert put(seven, stricter).json()["version"] == 2
        change(seven, 2, "retired")
        assert put(seven).json()["version"] == 3

    def test_what_was_taken_before_there_were_limits_is_replaced_on_purpose_only(
        self, seven: httpx.Client, pipeline: Any, api_store: Any
    ) -> None:
        api_store.execute(
            "INSERT INTO event_types (tenant_id, event_type, version, schema)"
            """ VALUES (7, 'visit', 1, '{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#"}}}')"""
        )

        answer = put(seven)

        assert (answer.status_code, answer.json()["code"]) == (409, "incompatible_schema")
        assert put(seven, compatibility="none").json()["version"] == 2

    @pytest.mark.parametrize(
        ("body", "code", "pointer"),
        [
            ({}, "invalid_request", ""),
            ({"schema": SCHEMA, "signal_type": "noise"}, "invalid_request", "/signal_type"),
            ({"schema": SCHEMA, "signal_score": 1.5}, "invalid_request", "/signal_score"),
            ({"schema": SCHEMA, "scheme": {}}, "invalid_request", ""),
            ({"schema": []}, "invalid_json", "/schema"),
            ({"schema": {"title": "\0"}}, "unsupported_character", "/schema/title"),
            ({"schema": {"type": "strnig"}}, "invalid_schema", "/schema/type"),
            ({"schema": {"properties": {"a": {"pattern": "(?=a)"}}}}, "invalid_schema", "/schema/properties/a/pattern"),
            ({"schema": {"$ref": "http://169.254.169.254/"}}, "invalid_schema", "/schema"),
            ({"schema": {"title": "x" * 65_536}}, "invalid_schema", "/schema"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_an_event_type_is_refused_with_the_place(
        self, seven: httpx.Client, body: Any, code: str, pointer: str
    ) -> None:
        answer = seven.put(VISIT, json=body)

        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
        assert seven.get(VISIT).status_code == 404

    @pytest.mark.parametrize("depth", [40, 5_000, 60_000])
    def test_however_deep_a_schema_is_it_is_refused(self, seven: httpx.Client, depth: int) -> None:
        body = '{"schema": ' + '{"not":' * depth + "{}" + "}" * depth + "}"

        answer = seven.put(VISIT, content=body, headers={"Content-Type": "application/json"})

        assert answer.status_code in (413, 422), answer.text

    def test_names_are_the_tenants_own_and_well_formed(
        self, seven: httpx.Client, environment: dict[str, str], api_store: Any
    ) -> None:
        assert put(seven, name="purchase").json()["code"] == "event_type_error"
        assert put(seven, name="Visit").status_code == 422
        for scope, status in (("read", 403), ("ingest", 403), ("admin", 201)):
            key = {"Authorization": f"Bearer {api_store.key(SEVEN, scope)}"}
            assert seven.put(VISIT, json={"schema": {}}, headers=key).status_code == status
        platform = {"Authorization": f"Bearer {api_store.key(0, 'admin')}"}
        assert seven.put(VISIT, json={"schema": {}}, headers=platform).status_code == 409

    def test_a_tenant_has_so_many_versions_at_most(
        self, seven: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("common.event_types.registry.MOST_VERSIONS", 2)
        assert [put(seven, name=name).status_code for name in ("one", "two", "three")] == [201, 201, 409]

        seven.patch("/v1/event-types/one/versions/1", json={"status": "retired"})

        assert put(seven, name="three").status_code == 201

    def test_a_retired_version_comes_back_only_while_there_is_room(
        self, seven: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("common.event_types.registry.MOST_VERSIONS", 1)
        put(seven)
        change(seven, 1, "retired")
        assert put(seven, name="other").status_code == 201

        for status in ("active", "deprecated"):
            answer = change(seven, 1, status)
            assert (answer.status_code, answer.json()["code"]) == (409, "event_type_error")
        assert seven.get(f"{VISIT}/versions/1").json()["status"] == "retired"

        # What is in use already may change, however full it is.
        other = "/v1/event-types/other/versions/1"
        for status in ("deprecated", "active", "retired"):
            assert seven.patch(other, json={"status": status}).status_code == 200
        assert change(seven, 1, "active").status_code == 200

    def test_many_who_register_or_bring_back_at_once_stay_within_the_limit(
        self, seven: httpx.Client, monkeypatch: pytest.MonkeyPatch, pipeline: Any
    ) -> None:
        monkeypatch.setattr("common.event_types.registry.MOST_VERSIONS", 3)
        for number in range(4):
            version = put(seven, signal_score=number / 10).json()["version"]
            change(seven, version, "retired")

        def register_or_bring_back(number: int) -> int:
            if number % 2:
                return change(seven, 1 + number // 2, "active").status_code
            return put(seven, name=f"t{number}").status_code

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(register_or_bring_back, range(8)))

        assert sum(answer in (200, 201) for answer in answers) == 3
        assert answers.count(409) == 5
        assert (
            pipeline.value("SELECT count(*) FROM event_types WHERE tenant_id = 7 AND status <> 'retired'")
            == 3
        )

    @pytest.mark.parametrize(
        ("limit", "most"), [("MOST_VERSIONS_OF_A_TYPE", 1), ("MOST_SCHEMA_BYTES", 150), ("MOST_PATTERNS", 3)]
    )
    def test_the_versions_of_a_tenant_are_bounded_together(
        self, seven: httpx.Client, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
    ) -> None:
        schema = {"properties": {"a": {"pattern": "^a"}}, "patternProperties": {"^b": {"type": "string"}}}
        monkeypatch.setattr(f"common.event_types.registry.{limit}", most)
        assert put(seven, schema).status_code == 201

        answer = put(seven, schema, signal_score=0.9)

        assert (answer.status_code, answer.json()["code"]) == (409, "event_type_error")
        assert len(seven.get(VISIT).json()["items"]) == 1
        # A retired version takes no room.
        change(seven, 1, "retired")
        assert put(seven, schema, signal_score=0.9).status_code == 201

    def test_only_what_is_there_can_be_deprecated(self, seven: httpx.Client, api_store: Any) -> None:
        put(seven)
        assert change(seven, 2, "deprecated").status_code == 404
        assert change(seven, 1, "gone").status_code == 422
        platforms = seven.patch("/v1/event-types/purchase/versions/1", json={"status": "retired"})
        assert platforms.status_code == 404
        assert change(seven, 1, "deprecated").json()["status"] == "deprecated"
        assert seven.get(f"{VISIT}/versions/1").json()["status"] == "deprecated"
        assert change(seven, 1, "active").json()["status"] == "active"


class TestEvents:
    def test_what_was_refused_before_the_type_was_there_comes_in_by_a_replay(
        self, seven: httpx.Client, pipeline: Any
    ) -> None:
        send(pipeline, {"store": "north"}, {"store": 7})
        assert refused(pipeline) == {"e0": "unknown_event_type", "e1": "unknown_event_type"}

        assert put(seven, signal_type="intent", signal_score=0.7).status_code == 201
        assert seven.post("/v1/rejected/replay", json={"event_type": "visit"}).json()["replayed"] == 2
        pipeline.drain()

        assert (stored(pipeline), refused(pipeline)) == (["e0"], {"e1": "schema_violation"})
        (signal,) = pipeline.rows("SELECT signal_type, signal_score FROM signals")
        assert (signal["signal_type"], round(signal["signal_score"], 3)) == ("intent", 0.7)

    def test_a_deprecated_version_goes_on_accepting_and_a_retired_one_does_not(
        self, seven: httpx.Client, pipeline: Any
    ) -> None:
        put(seven)
        put(seven, {"required": ["shop"]}, compatibility="none")
        change(seven, 1, "deprecated")
        send(pipeline, {"store": "north"}, {"shop": "north"})
        assert stored(pipeline) == ["e0", "e1"]

        change(seven, 1, "retired")
        send(pipeline, {"store": "north"}, {"shop": "north"}, first=2)
        assert (stored(pipeline), refused(pipeline)) == (["e0", "e1", "e3"], {"e2": "schema_violation"})

        change(seven, 2, "retired")
        send(pipeline, {"shop": "north"}, first=4)
        assert refused(pipeline)["e4"] == "unknown_event_type"

        change(seven, 1, "active")
        seven.post("/v1/rejected/replay")
        pipeline.drain()
        assert stored(pipeline) == ["e0", "e1", "e2", "e3"]

    def test_a_worker_reads_no_schema_twice(self, seven: httpx.Client, pipeline: Any) -> None:
        put(seven)
        store = Store(pipeline.pool)
        (first,) = known = store.tenant_types()

        put(seven, signal_score=0.9)
        again = store.tenant_types(known)
        change(seven, 1, "retired")

        assert again[0] is first
        assert [(row.version, row.schema) for row in again] == [(1, SCHEMA), (2, SCHEMA)]
        assert store.tenant_types(again) == again[1:]


class TestViolations:
    def test_they_are_counted_by_version_place_and_keyword(self, seven: httpx.Client, pipeline: Any) -> None:
        assert seven.get(f"{VISIT}/violations").status_code == 404
        put(seven)
        assert violations(seven) == []
        put(seven, SCHEMA, description="Other words.")

        send(
            pipeline, {}, {"x": 1}, {"store": 7}, {"store": "a", "items": [{}, {"price": -1}]}, {"store": "a"}
        )

        assert violations(seven) == [
            (2, "/data/items/*/price", "minimum", 1),
            (2, "/data/store", "required", 2),
            (2, "/data/store", "type", 1),
        ]
        first, second, _ = seven.get(f"{VISIT}/violations").json()["items"]
        assert first["sample"]["event_id"] == "e3"
        assert first["sample"]["detail"] == "-1 is less than the minimum of 0"
        assert second["first_at"] == second["last_at"]
        rejection = seven.get(f"/v1/rejected/{first['sample']['rejection_id']}").json()
        assert (rejection["path"], rejection["rejected_at"]) == ("/data/items/1/price", first["last_at"])

        page = seven.get(f"{VISIT}/violations", params={"limit": 1}).json()
        rest = seven.get(f"{VISIT}/violations", params={"cursor": page["next_cursor"]}).json()
        assert [each["keyword"] for each in page["items"] + rest["items"]] == ["minimum", "required", "type"]

    def test_a_batch_that_is_delivered_again_is_not_counted_again(
        self, seven: httpx.Client, pipeline: Any
    ) -> None:
        put(seven)
        send(pipeline, {}, {"store": 7})
        before = seven.get(f"{VISIT}/violations").json()

        send(pipeline, {}, {"store": 7})

        assert seven.get(f"{VISIT}/violations").json() == before

    def test_what_is_refused_again_after_a_replay_is_counted_again(
        self, seven: httpx.Client, pipeline: Any
    ) -> None:
        put(seven)
        send(pipeline, {})
        seven.post("/v1/rejected/replay")
        pipeline.drain()

        assert violations(seven) == [(1, "/data/store", "required", 2)]
        (one,) = seven.get(f"{VISIT}/violations").json()["items"]
        assert one["first_at"] < one["last_at"]
        assert one["sample"]["event_id"] == "e0"

    def test_what_failed_to_be_stored_is_not_counted(
        self, seven: httpx.Client, pipeline: Any, api_store: Any
    ) -> None:
        put(seven)
        # A batch that is halved for an event that PostgreSQL cannot hold: its refusals are made once.
        api_store.execute("ALTER TABLE customers ADD CONSTRAINT no_bad_ones CHECK (signal_count < 2)")
        send(pipeline, {}, {"store": "a"}, {"store": "b"})

        assert violations(seven) == [(1, "/data/store", "required", 1)]
        assert set(refused(pipeline).values()) == {"schema_violation", "unstorable"}

    def test_those_of_the_platforms_types_are_counted_for_each_tenant(
        self, seven: httpx.Client, pipeline: Any
    ) -> None:
        send(pipeline, {"amount": -1, "currency": "USD"}, event_type="purchase")
        send(
            pipeline, {"currency": "USD"}, {"amount": -1, "currency": "USD"}, event_type="purchase", tenant=8
        )

        assert violations(seven, "purchase") == [(1, "/data/amount", "minimum", 1)]

    def test_a_sample_that_is_gone_leaves_the_count(
        self, seven: httpx.Client, pipeline: Any, api_store: Any
    ) -> None:
        put(seven)
        send(pipeline, {})
        api_store.execute("DELETE FROM rejected_events")

        (one,) = seven.get(f"{VISIT}/violations").json()["items"]

        assert (one["events"], one["sample"]) == (1, None)
