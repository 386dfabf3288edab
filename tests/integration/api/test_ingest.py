"""POST /v1/events against a real Redis."""

import gzip
import json
import re
import socket
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sending import EVENT, NDJSON, event

from common.queue.streams import Entry, depth, lane_of
from common.redis import open_redis


def test_an_accepted_event_lies_in_the_tenants_lane_as_received(
    api: httpx.Client, api_tenant: int, queued: Callable[[], list[Entry]], redis_url: str
) -> None:
    body = json.dumps(EVENT, indent=2).encode()
    answer = api.post("/v1/events", content=body, headers={"Content-Type": "application/json; charset=utf-8"})

    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "event_ids": ["e1"], "rejected": []})
    [entry] = queued()
    assert (entry.lane, entry.tenant_id) == (lane_of(api_tenant), api_tenant)
    assert [(record.event_id, record.raw) for record in entry.records] == [("e1", body)]
    with open_redis(redis_url) as client:
        assert depth(client) == {lane_of(api_tenant): 1}


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (json.dumps([event("e1"), event("e2")]).encode(), {"Content-Type": "application/json"}),
        (b"\n".join(json.dumps(event(each)).encode() for each in ("e1", "e2")), NDJSON),
        (
            gzip.compress(json.dumps([event("e1"), event("e2")]).encode()),
            {"Content-Type": "application/json"},
        ),
    ],
    ids=["array", "ndjson", "gzip"],
)
def test_several_events_may_come_in_one_request(
    api: httpx.Client, queued: Callable[[], list[Entry]], content: bytes, headers: dict[str, str]
) -> None:
    if content.startswith(b"\x1f\x8b"):
        headers = headers | {"Content-Encoding": "gzip"}
    answer = api.post("/v1/events", content=content, headers=headers)

    assert answer.json() == {"accepted": 2, "event_ids": ["e1", "e2"], "rejected": []}
    assert [record.event_id for entry in queued() for record in entry.records] == ["e1", "e2"]


def test_good_events_are_accepted_beside_bad_ones(
    api: httpx.Client, queued: Callable[[], list[Entry]]
) -> None:
    lines = [
        json.dumps(event("good")).encode(),
        b"{broken",
        json.dumps(event("x", customer_id="")).encode(),
        json.dumps(event("x", occurred_at="noon")).encode(),
        json.dumps(event("x" * 300_000)).encode(),
        json.dumps(event("fine")).encode(),
    ]
    answer = api.post("/v1/events", content=b"\n".join(lines), headers=NDJSON)

    assert answer.status_code == 202
    assert (answer.json()["accepted"], answer.json()["event_ids"]) == (2, ["good", "fine"])
    assert [(one["index"], one["code"], one["path"]) for one in answer.json()["rejected"]] == [
        (1, "invalid_json", ""),
        (2, "invalid_envelope", "/customer_id"),
        (3, "invalid_occurred_at", "/occurred_at"),
        (4, "event_too_large", ""),
    ]
    assert all(one["detail"] for one in answer.json()["rejected"])
    assert len(queued()) == 1


def test_an_event_without_id_gets_a_fresh_one(api: httpx.Client, queued: Callable[[], list[Entry]]) -> None:
    body = {name: value for name, value in EVENT.items() if name != "event_id"}
    ids = api.post("/v1/events", json=[body, body]).json()["event_ids"]

    assert [UUID(each).version for each in ids] == [7, 7]
    assert [record.event_id for entry in queued() for record in entry.records] == ids
    assert len(set(ids)) == 2


def test_the_ids_are_left_out_on_request(api: httpx.Client) -> None:
    answer = api.post("/v1/events", json=EVENT, headers={"Prefer": "respond-async, return=minimal"})

    assert answer.json() == {"accepted": 1, "rejected": []}
    assert answer.headers["Preference-Applied"] == "return=minimal"


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{}", {}, 415, "unsupported_media_type"),
        (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        (b"x", {"Content-Type": "application/json", "Content-Encoding": "br"}, 415, "unsupported_encoding"),
        (b"x", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 422, "invalid_gzip"),
        (b"", {"Content-Type": "application/json"}, 422, "empty_request"),
        (b"[]", {"Content-Type": "application/json"}, 422, "empty_request"),
        (b"[1,", {"Content-Type": "application/json"}, 422, "invalid_json"),
        (b"{", {"Content-Type": "application/json"}, 422, "invalid_json"),
        (b"17", {"Content-Type": "application/json"}, 422, "invalid_envelope"),
        (b"[1, 2]", {"Content-Type": "application/json"}, 422, "all_events_refused"),
        (b"[" + b"{}," * 10_000 + b"{}]", {"Content-Type": "application/json"}, 413, "too_many_events"),
        (b"\n" * 17_000_000, NDJSON, 413, "body_too_large"),
        (b'{"a":"' + b"x" * 300_000 + b'"}', {"Content-Type": "application/json"}, 413, "event_too_large"),
    ],
)
def test_a_request_that_cannot_be_used_is_refused_whole(
    api: httpx.Client,
    queued: Callable[[], list[Entry]],
    content: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    answer = api.post("/v1/events", content=content, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert queued() == []


def test_when_all_events_are_refused_the_problem_lists_them(api: httpx.Client) -> None:
    problem = api.post("/v1/events", json=[1, {}]).json()

    assert [one["index"] for one in problem["rejected"]] == [0, 1]


@pytest.mark.parametrize(
    "authorization", [None, "Bearer", "Bearer sspp_no_such", "Basic abc", "Bearer \u00e9"]
)
def test_a_missing_or_wrong_key_is_a_401(api: httpx.Client, authorization: str | None) -> None:
    headers = {b"Authorization": authorization.encode("latin-1")} if authorization else {}
    answer = httpx.post(api.base_url.join("/v1/events"), json=EVENT, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_that_may_only_read_is_a_403(api: httpx.Client, api_store: Any, api_tenant: int) -> None:
    key = api_store.key(api_tenant, "read")
    answer = api.post("/v1/events", json=EVENT, headers={"Authorization": f"Bearer {key}"})

    assert answer.status_code == 403


def test_a_client_that_hangs_up_is_no_failure_of_ours(
    api: httpx.Client, api_store: Any, api_tenant: int, until: Any
) -> None:
    key = api_store.key(api_tenant, "ingest")
    with socket.create_connection((api.base_url.host, api.base_url.port)) as connection:
        head = (
            "POST /v1/events HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {key}",
            "Content-Type: application/json",
            "Content-Length: 10",
        )
        connection.sendall("\r\n".join((*head, "", "1234")).encode())

    def statuses() -> set[str]:
        text = api.get("/metrics").text
        return set(
            re.findall(r'sspp_http_requests_total\{method="POST",route="/v1/events",status="(\d+)"', text)
        )

    assert until(statuses) == {"499"}


def test_a_refusal_is_logged_under_the_request_id_that_it_names(
    api: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = api.post("/v1/events", content=b"x", headers={"Content-Type": "text/plain"})
    request_id = answer.json()["instance"].rpartition(":")[2]

    (line,) = [line for line in capsys.readouterr().out.splitlines() if "request_refused" in line]
    assert request_id in line
    assert "unsupported_media_type" in line


def test_a_body_that_says_at_the_start_that_it_is_too_large_is_not_waited_for(api: httpx.Client) -> None:
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: {api.headers['authorization']}\r\n"
        "Content-Type: application/json\r\nContent-Length: 17000000\r\n\r\n{"
    )
    with socket.create_connection((api.base_url.host, api.base_url.port or 0), timeout=30) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"body_too_large" in answer
