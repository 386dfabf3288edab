"""Bodies that come late, not at all, or all at once, on real connections."""

import http.client
import json
import socket
from collections.abc import Callable
from typing import Any

import httpx
from sending import NDJSON, events, fill, problem, send


def converse(api: httpx.Client, head: list[str], *parts: bytes) -> tuple[socket.socket, Callable[[], bytes]]:
    """Send a request by hand; returns the socket, and what reads the answer to the connection's end."""
    connection = socket.create_connection((api.base_url.host, api.base_url.port), timeout=30)
    authorization = f"Authorization: {api.headers['Authorization']}"
    lines = ["POST /v1/events HTTP/1.1", "Host: localhost", authorization, "Content-Type: application/json"]
    connection.sendall("\r\n".join([*lines, *head, "", ""]).encode() + b"".join(parts))

    def rest() -> bytes:
        with connection:
            return b"".join(iter(lambda: connection.recv(65536), b""))

    return connection, rest


def test_a_shed_request_is_answered_before_its_body_and_keeps_its_connection(
    serve: Any, api_store: Any, api_tenant: int
) -> None:
    key = api_store.key(api_tenant, "ingest")
    headers = NDJSON | {"Authorization": f"Bearer {key}"}
    with serve(SSPP_MAX_TENANT_QUEUED_BYTES=50_000) as api:
        fill(api)
        connection = http.client.HTTPConnection(api.base_url.host, api.base_url.port, timeout=30)
        connection.connect()
        opened = connection.sock
        for _ in range(3):
            connection.request("POST", "/v1/events", events(10_000), headers)
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["code"]) == (429, "tenant_queue_full")
            assert connection.sock is opened
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_client_that_asks_first_is_told_before_it_sends(serve: Any) -> None:
    with serve(SSPP_MAX_TENANT_QUEUED_BYTES=50_000) as api:
        fill(api)
        _, rest = converse(api, ["Content-Length: 1000000", "Expect: 100-continue"])
        answer = rest()

    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"connection: close" in answer.lower()
    assert b"100 Continue" not in answer


def test_a_body_that_may_never_pass_is_not_told_to_come_back(serve: Any) -> None:
    with serve(SSPP_MAX_TENANT_QUEUED_BYTES=50_000, SSPP_MAX_BODY_BYTES=100_000) as api:
        fill(api)
        answer = send(api, events(5_000))

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert "Retry-After" not in answer.headers


def test_a_body_that_takes_too_long_is_a_408(serve: Any) -> None:
    with serve(SSPP_BODY_TIMEOUT_SECONDS=0.2) as api:
        _, rest = converse(api, ["Content-Length: 1000"], b'{"event_id": ')
        answer = rest()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


def test_bodies_in_hand_are_bounded_together(serve: Any, until: Any) -> None:
    body = events(1, size=50_000)
    with serve(SSPP_MAX_INFLIGHT_BYTES=80_000) as api:
        connection, rest = converse(api, [f"Content-Length: {len(body)}", "Connection: close"], body[:-10])
        until(lambda: "sspp_body_bytes 0.0\n" not in api.get("/metrics").text)
        until(lambda: send(api, body).status_code == 503)
        busy = send(api, body)
        assert problem(busy) == (503, "api_busy")
        assert busy.headers["Retry-After"] == "1"
        assert send(api, events(1)).status_code == 202

        connection.sendall(body[-10:])
        assert rest().startswith(b"HTTP/1.1 202 ")
        assert send(api, body).status_code == 202
        until(lambda: "sspp_body_bytes 0.0\n" in api.get("/metrics").text)


def test_a_body_larger_than_all_together_may_have_gets_in_alone(serve: Any) -> None:
    with serve(SSPP_MAX_INFLIGHT_BYTES=10_000) as api:
        assert send(api, events(1, size=50_000)).status_code == 202
