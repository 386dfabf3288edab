"""Sending events, in every form, and asking what became of them."""

import gzip
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

Until = Callable[..., Any]
New = Callable[..., dict[str, Any]]

JSON = "application/json"
NDJSON = "application/x-ndjson"


@pytest.fixture
def api(platform: Any, tenant: Any) -> httpx.Client:
    """The API, for a tenant of our own."""
    client: httpx.Client = tenant.api
    return client


@pytest.fixture
def post(api: httpx.Client) -> Callable[..., httpx.Response]:
    """Posts a body to the events."""

    def send(body: object, media_type: str = JSON, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return api.post("/v1/events", content=content, headers={"Content-Type": media_type, **headers})

    return send


def name() -> str:
    return f"e-{uuid4()}"


def status_of(api: httpx.Client, event_id: str) -> str:
    """The event's status; empty while it is not stored."""
    found = api.get(f"/v1/events/{event_id}")
    return "" if found.status_code == 404 else str(found.raise_for_status().json()["status"])


def ndjson(events: list[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(event).encode() for event in events)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", ["object", "array", "ndjson"])
def test_events_arrive_in_every_form(
    api: httpx.Client, post: Any, new_purchase: New, until: Until, form: str, compressed: bool
) -> None:
    ids = [name() for _ in range(1 if form == "object" else 3)]
    events = [new_purchase(each, "c-forms") for each in ids]
    body = (
        ndjson(events) if form == "ndjson" else json.dumps(events if form == "array" else events[0]).encode()
    )

    answer = post(
        gzip.compress(body) if compressed else body,
        NDJSON if form == "ndjson" else JSON,
        **({"Content-Encoding": "gzip"} if compressed else {}),
    )

    assert (answer.status_code, answer.json()) == (
        202,
        {"accepted": len(ids), "event_ids": ids, "rejected": []},
    )
    until(lambda: all(status_of(api, each) for each in ids))
    for each in ids:
        assert api.get(f"/v1/events/{each}").json()["event"]["data"] == events[0]["data"]


def test_a_stored_event_is_indexed_and_found(
    api: httpx.Client, post: Any, new_purchase: New, until: Until
) -> None:
    event_id = name()
    post(new_purchase(event_id))

    def found() -> bool:
        # Asked seldom: the index may be busy with all that came before.
        time.sleep(0.25)
        return bool(api.get("/v1/search", params={"q": event_id}).json()["total"] == 1)

    until(found)
    assert status_of(api, event_id) == "indexed"


def test_ids_are_made_where_missing_and_left_out_on_request(post: Any, new_purchase: New) -> None:
    nameless = new_purchase("")
    del nameless["event_id"]

    named = post([nameless, nameless]).json()
    minimal = post([nameless, nameless], Prefer="return=minimal")

    assert len(set(named["event_ids"])) == 2
    assert (minimal.status_code, minimal.json()) == (202, {"accepted": 2, "rejected": []})
    assert minimal.headers["preference-applied"] == "return=minimal"


def test_good_events_are_accepted_beside_bad_ones(
    api: httpx.Client, post: Any, new_purchase: New, until: Until
) -> None:
    first, last = name(), name()
    no_customer = {"event_type": "purchase", "data": {}}
    answer = post([new_purchase(first), no_customer, 7, new_purchase(last)])

    receipt = answer.json()
    assert (answer.status_code, receipt["accepted"], receipt["event_ids"]) == (202, 2, [first, last])
    assert [each["index"] for each in receipt["rejected"]] == [1, 2]
    assert all(each["code"] and each["detail"] for each in receipt["rejected"])
    until(lambda: status_of(api, first) and status_of(api, last))


def test_the_same_event_again_is_one_signal_whatever_it_says_later(
    platform: Any, api: httpx.Client, post: Any, new_purchase: New, until: Until
) -> None:
    event_id, marker = name(), name()
    customer = f"c-{uuid4()}"
    post([new_purchase(event_id, customer, "10.10")] * 2)
    until(lambda: status_of(api, event_id))
    post(new_purchase(event_id, customer, "10.10", occurred_at="2001-02-03T04:05:06Z"))
    post(new_purchase(event_id, customer, "99"))
    post(new_purchase(marker))
    until(lambda: status_of(api, marker))

    def kept() -> dict[str, Any]:
        found: dict[str, Any] = api.get(f"/v1/customers/{customer}").raise_for_status().json()
        return found

    # Two workers share the lanes, so the marker may pass what came before it.
    until(lambda: waiting(platform) == 0)
    assert (kept()["signal_count"], kept()["counts"], kept()["totals"]) == (
        1,
        {"purchase": 1},
        {"USD": "10.10"},
    )
    assert len(api.get("/v1/signals", params={"customer_id": customer}).json()["items"]) == 1


def waiting(platform: Any) -> float:
    """How many events wait in the lanes or are in work."""
    lines = httpx.get(f"{platform.url}/metrics", trust_env=False).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("sspp_lane_depth_events{"))


def test_a_profile_is_patched_by_an_event_like_any_other(
    api: httpx.Client, post: Any, new_purchase: New, until: Until
) -> None:
    customer, event_id = f"c-{uuid4()}", name()
    post(new_purchase(event_id, customer))
    until(lambda: status_of(api, event_id))

    patched = api.patch(f"/v1/customers/{customer}", json={"name": "Ada", "tags": ["vip"]})

    assert patched.status_code == 202
    until(lambda: api.get(f"/v1/customers/{customer}").json()["name"] == "Ada")
    assert api.get(f"/v1/customers/{customer}").json()["tags"] == ["vip"]


@pytest.mark.parametrize(
    "key", [None, "nonsense", "sspp_abcdefghij_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
)
def test_without_a_valid_key_nothing_is_accepted(platform: Any, new_purchase: New, key: str | None) -> None:
    with platform.client(key or "") as client:
        answer = client.post("/v1/events", json=new_purchase(name()))

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_may_do_what_its_scopes_say_and_see_its_own_tenant_only(
    platform: Any, tenant: Any, api: httpx.Client, post: Any, new_purchase: New, until: Until
) -> None:
    event_id = name()
    post(new_purchase(event_id))
    until(lambda: status_of(api, event_id))

    with platform.client(platform.new_key(tenant.slug, "read")) as reader:
        refused = reader.post("/v1/events", json=new_purchase(name()))
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
        assert status_of(reader, event_id)
    with platform.client(platform.environment["SSPP_ADMIN_KEY"]) as stranger:
        assert status_of(stranger, event_id) == ""


@pytest.mark.parametrize(
    ("body", "media_type", "headers", "status", "code"),
    [
        (b"a,b\n1,2\n", "text/csv", {}, 415, "unsupported_media_type"),
        (b"{}", JSON, {"Content-Encoding": "br"}, 415, "unsupported_encoding"),
        (b"", JSON, {}, 422, "empty_request"),
        (b"[]", JSON, {}, 422, "empty_request"),
        (b"[1,", JSON, {}, 422, "invalid_json"),
        (b"{not json}", JSON, {}, 422, "invalid_json"),
        (b"no gzip", JSON, {"Content-Encoding": "gzip"}, 422, "invalid_gzip"),
        (b"[" * 40_000 + b"]" * 40_000, JSON, {}, 422, None),
        (b"{}\n" * 10_001, NDJSON, {}, 413, "too_many_events"),
        (b'{"x":"' + b"x" * 300_000 + b'"}', JSON, {}, 413, "event_too_large"),
        (b" " * (16 * 1024 * 1024 + 1), JSON, {}, 413, "body_too_large"),
        (gzip.compress(b" " * 64 * 1024 * 1024), JSON, {"Content-Encoding": "gzip"}, 413, "body_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_accepted_is_a_problem_with_a_code(
    post: Any, body: bytes, media_type: str, headers: dict[str, str], status: int, code: str | None
) -> None:
    answer = post(body, media_type, **headers)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"]
    assert problem["code"] == code if code else problem["code"]
