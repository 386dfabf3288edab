"""What a tenant may register as an event type, and how much of it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from own_event_types import SCHEMA, SEVEN, VISIT, change, put
from sending import bearer


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "invalid_request", ""),
        ({"schema": SCHEMA, "signal_type": "noise"}, "invalid_request", "/signal_type"),
        ({"schema": SCHEMA, "signal_score": 1.5}, "invalid_request", "/signal_score"),
        ({"schema": SCHEMA, "scheme": {}}, "invalid_request", ""),
        ({"schema": []}, "invalid_schema", "/schema"),
        ({"schema": True}, "invalid_schema", "/schema"),
        ({"schema": {"title": "\0"}}, "unsupported_character", "/schema/title"),
        ({"schema": {"type": "strnig"}}, "invalid_schema", "/schema/type"),
        ({"schema": {"properties": {"a": {"pattern": "(?=a)"}}}}, "invalid_schema", "/schema/properties/a/pattern"),
        ({"schema": {"$ref": "http://169.254.169.254/"}}, "invalid_schema", "/schema"),
        ({"schema": {"title": "x" * 65_536}}, "invalid_schema", "/schema"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_event_type_is_refused_with_the_place(
    seven: httpx.Client, body: Any, code: str, pointer: str
) -> None:
    answer = seven.put(VISIT, json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
    assert seven.get(VISIT).status_code == 404


@pytest.mark.parametrize("depth", [40, 5_000, 60_000])
def test_however_deep_a_schema_is_it_is_refused(seven: httpx.Client, depth: int) -> None:
    body = '{"schema": ' + '{"not":' * depth + "{}" + "}" * depth + "}"

    answer = seven.put(VISIT, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code in (413, 422), answer.text


def test_names_are_the_tenants_own_and_well_formed(
    seven: httpx.Client, environment: dict[str, str], api_store: Any
) -> None:
    assert put(seven, name="purchase").json()["code"] == "event_type_error"
    assert put(seven, name="Visit").status_code == 422
    for scope, status in (("read", 403), ("ingest", 403), ("admin", 201)):
        key = bearer(api_store.key(SEVEN, scope))
        assert seven.put(VISIT, json={"schema": {}}, headers=key).status_code == status
    platform = bearer(api_store.key(0, "admin"))
    assert seven.put(VISIT, json={"schema": {}}, headers=platform).status_code == 409


def test_a_tenant_has_so_many_versions_at_most(seven: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.event_types.registry.MOST_VERSIONS", 2)
    assert [put(seven, name=name).status_code for name in ("one", "two", "three")] == [201, 201, 409]

    seven.patch("/v1/event-types/one/versions/1", json={"status": "retired"})

    assert put(seven, name="three").status_code == 201


def test_a_retired_version_comes_back_only_while_there_is_room(
    seven: httpx.Client, monkeypatch: pytest.MonkeyPatch
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
    seven: httpx.Client, monkeypatch: pytest.MonkeyPatch, pipeline: Any
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
    assert pipeline.value("SELECT count(*) FROM event_types WHERE tenant_id = 7 AND status <> 'retired'") == 3


@pytest.mark.parametrize(
    ("limit", "most"), [("MOST_VERSIONS_OF_A_TYPE", 1), ("MOST_SCHEMA_BYTES", 150), ("MOST_PATTERNS", 3)]
)
def test_the_versions_of_a_tenant_are_bounded_together(
    seven: httpx.Client, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
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
