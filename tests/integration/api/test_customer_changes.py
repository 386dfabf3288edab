"""A profile is changed by an event that goes through the queue like any other."""

import json
from collections.abc import Callable
from datetime import datetime

import httpx
import pytest

from common.queue.streams import Entry


def test_a_change_goes_in_as_an_event_with_its_numbers_exact(
    api: httpx.Client, api_tenant: int, queued: Callable[[], list[Entry]]
) -> None:
    body = b'{"email": "ada@example.com", "phone": null, "custom_fields": {"limit": 1.10, "old": null}}'
    answer = api.patch(
        "/v1/customers/a%2Fb", content=body, headers={"Content-Type": "application/merge-patch+json"}
    )
    assert answer.status_code == 202, answer.text
    [entry] = queued()
    [record] = entry.records
    assert entry.tenant_id == api_tenant
    assert record.event_id == answer.json()["event_id"]
    assert body in record.raw
    event = json.loads(record.raw)
    assert event["event_id"] == record.event_id
    assert (event["event_type"], event["customer_id"]) == ("customer_updated", "a/b")
    assert datetime.fromisoformat(event["occurred_at"]) == record.received_at


def test_what_could_not_be_applied_is_refused_at_once(
    api: httpx.Client, queued: Callable[[], list[Entry]]
) -> None:
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
    assert queued() == []


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
    api: httpx.Client, queued: Callable[[], list[Entry]], body: str, code: str, pointer: str
) -> None:
    answer = api.patch("/v1/customers/c1", content=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert queued() == []
