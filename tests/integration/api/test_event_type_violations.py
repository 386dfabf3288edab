"""What violates a schema is counted: once, for each tenant, by version, place and keyword."""

from typing import Any

import httpx
from own_event_types import SCHEMA, VISIT, put, refused, send


def violations(client: httpx.Client, name: str = "visit") -> list[tuple[int, str, str, int]]:
    page = client.get(f"/v1/event-types/{name}/violations").json()
    assert page["next_cursor"] is None
    return [(each["version"], each["path"], each["keyword"], each["events"]) for each in page["items"]]


def test_they_are_counted_by_version_place_and_keyword(seven: httpx.Client, pipeline: Any) -> None:
    assert seven.get(f"{VISIT}/violations").status_code == 404
    put(seven)
    assert violations(seven) == []
    put(seven, SCHEMA, description="Other words.")

    send(pipeline, {}, {"x": 1}, {"store": 7}, {"store": "a", "items": [{}, {"price": -1}]}, {"store": "a"})

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


def test_a_batch_that_is_delivered_again_is_not_counted_again(seven: httpx.Client, pipeline: Any) -> None:
    put(seven)
    send(pipeline, {}, {"store": 7})
    before = seven.get(f"{VISIT}/violations").json()

    send(pipeline, {}, {"store": 7})

    assert seven.get(f"{VISIT}/violations").json() == before


def test_what_is_refused_again_after_a_replay_is_counted_again(seven: httpx.Client, pipeline: Any) -> None:
    put(seven)
    send(pipeline, {})
    seven.post("/v1/rejected/replay")
    pipeline.drain()

    assert violations(seven) == [(1, "/data/store", "required", 2)]
    (one,) = seven.get(f"{VISIT}/violations").json()["items"]
    assert one["first_at"] < one["last_at"]
    assert one["sample"]["event_id"] == "e0"


def test_what_failed_to_be_stored_is_not_counted(seven: httpx.Client, pipeline: Any, api_store: Any) -> None:
    put(seven)
    # A batch that is halved for an event that PostgreSQL cannot hold: its refusals are made once.
    api_store.execute("ALTER TABLE customers ADD CONSTRAINT no_bad_ones CHECK (signal_count < 2)")
    send(pipeline, {}, {"store": "a"}, {"store": "b"})

    assert violations(seven) == [(1, "/data/store", "required", 1)]
    assert set(refused(pipeline).values()) == {"schema_violation", "unstorable"}


def test_those_of_the_platforms_types_are_counted_for_each_tenant(seven: httpx.Client, pipeline: Any) -> None:
    send(pipeline, {"amount": -1, "currency": "USD"}, event_type="purchase")
    send(pipeline, {"currency": "USD"}, {"amount": -1, "currency": "USD"}, event_type="purchase", tenant=8)

    assert violations(seven, "purchase") == [(1, "/data/amount", "minimum", 1)]


def test_a_sample_that_is_gone_leaves_the_count(seven: httpx.Client, pipeline: Any, api_store: Any) -> None:
    put(seven)
    send(pipeline, {})
    api_store.execute("DELETE FROM rejected_events")

    (one,) = seven.get(f"{VISIT}/violations").json()["items"]

    assert (one["events"], one["sample"]) == (1, None)
