"""The versions of a tenant's own event types: which are made, which are broken, and what becomes of them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from own_event_types import SCHEMA, VISIT, change, first_version, put


def test_the_same_content_again_is_the_same_version_and_other_content_the_next(seven: httpx.Client) -> None:
    first = put(seven)
    assert (first.status_code, first.headers["location"]) == (201, f"{VISIT}/versions/1")
    made = first.json()
    assert made.pop("created_at").endswith("Z")
    assert made == first_version("visit", SCHEMA, description="Somebody came.")

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


def test_versions_are_listed_page_by_page(seven: httpx.Client) -> None:
    for score in (0.1, 0.2, 0.3):
        assert put(seven, signal_score=score).status_code == 201

    first = seven.get(VISIT, params={"limit": 2}).json()
    second = seven.get(VISIT, params={"limit": 2, "cursor": first["next_cursor"]}).json()

    scores = [each["signal_score"] for each in first["items"] + second["items"]]
    assert (scores, second["next_cursor"]) == ([0.1, 0.2, 0.3], None)
    other_list = seven.get("/v1/event-types", params={"cursor": first["next_cursor"]})
    assert other_list.status_code == 422


def test_many_who_register_the_same_at_once_make_one_version_of_it(seven: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: put(seven).status_code, range(16)))

    assert sorted(answers) == [200] * 15 + [201]


def test_a_break_is_refused_with_reasons_unless_it_is_meant(seven: httpx.Client) -> None:
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


def test_what_a_retired_version_said_counts_no_more(seven: httpx.Client) -> None:
    put(seven)
    stricter = SCHEMA | {"required": ["store", "minutes"]}
    assert put(seven, stricter).status_code == 409

    assert change(seven, 1, "retired").json()["status"] == "retired"

    assert put(seven, stricter).json()["version"] == 2
    change(seven, 2, "retired")
    assert put(seven).json()["version"] == 3


def test_what_was_taken_before_there_were_limits_is_replaced_on_purpose_only(
    seven: httpx.Client, pipeline: Any, api_store: Any
) -> None:
    api_store.execute(
        "INSERT INTO event_types (tenant_id, event_type, version, schema)"
        """ VALUES (7, 'visit', 1, '{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#"}}}')"""
    )

    answer = put(seven)

    assert (answer.status_code, answer.json()["code"]) == (409, "incompatible_schema")
    assert put(seven, compatibility="none").json()["version"] == 2


def test_only_what_is_there_can_be_deprecated(seven: httpx.Client, api_store: Any) -> None:
    put(seven)
    assert change(seven, 2, "deprecated").status_code == 404
    assert change(seven, 1, "gone").status_code == 422
    platforms = seven.patch("/v1/event-types/purchase/versions/1", json={"status": "retired"})
    assert platforms.status_code == 404
    assert change(seven, 1, "deprecated").json()["status"] == "deprecated"
    assert seven.get(f"{VISIT}/versions/1").json()["status"] == "deprecated"
    assert change(seven, 1, "active").json()["status"] == "active"
