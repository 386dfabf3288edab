"""`python -m api` as a process: what SIGTERM does to it and to those who are sending."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from redis import Redis

from common.queue.streams import depth, lane_of
from infrastructure.local.ports import is_free

Until = Callable[..., Any]

# What Kubernetes grants a process between SIGTERM and SIGKILL.
GRACE_SECONDS = 30


class Served:
    """An API process, and how to speak with it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, key: str) -> None:
        self.process = process
        self.port = port
        self.key = key
        self.url = f"http://127.0.0.1:{port}"

    def answers(self) -> bool:
        try:
            return httpx.get(self.url + "/readyz").is_success
        except httpx.TransportError:
            return False

    def post(self, event: dict[str, Any]) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.post(self.url + "/v1/events", json=event, headers=headers, timeout=GRACE_SECONDS)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def status(self) -> int:
        """How it ended: uvicorn finishes its work and then lets the signal have its way."""
        return self.process.wait(GRACE_SECONDS)


@pytest.fixture
def served(environment: dict[str, str], api_store: Any, api_tenant: int, until: Until) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"PATH": os.environ["PATH"], "PORT": str(port)} | environment
    process = subprocess.Popen([sys.executable, "-m", "api"], env=variables, stdout=subprocess.DEVNULL)
    api = Served(process, port, api_store.key(api_tenant, "ingest"))
    try:
        until(api.answers)
        yield api
    finally:
        process.kill()
        process.wait()


def event(event_id: str) -> dict[str, Any]:
    data = {"amount": "1.00", "currency": "USD"}
    return {"event_id": event_id, "event_type": "purchase", "customer_id": "c1", "data": data}


def has_blocked_transaction(client: Redis) -> bool:
    """Whether a push waits; what else the API writes now and then is no transaction."""
    return any({"x", "b"} <= set(each["flags"]) for each in client.client_list())


def test_a_request_in_work_is_answered_after_sigterm_and_no_other_is_taken(
    served: Served, client: Redis, api_tenant: int, until: Until
) -> None:
    body = json.dumps(event("e1")).encode()
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {served.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=GRACE_SECONDS) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # the API waits for the body

        served.stop()
        until(lambda: is_free(served.port), GRACE_SECONDS)
        connection.sendall(body)

        assert connection.recv(10_000).startswith(b"HTTP/1.1 202 ")
    assert served.status() in {0, -signal.SIGTERM}
    assert depth(client) == {lane_of(api_tenant): 1}


def test_events_that_wait_for_redis_are_pushed_before_it_ends(
    served: Served, client: Redis, api_tenant: int, until: Until
) -> None:
    with ThreadPoolExecutor() as beside:
        client.client_pause(GRACE_SECONDS * 1000, all=False)  # writes wait
        try:
            answer = beside.submit(served.post, event("e1"))
            until(lambda: has_blocked_transaction(client), GRACE_SECONDS)
            served.stop()
            until(lambda: is_free(served.port), GRACE_SECONDS)
        finally:
            client.client_unpause()
        assert answer.result().status_code == 202
    assert served.status() in {0, -signal.SIGTERM}
    assert depth(client) == {lane_of(api_tenant): 1}


def test_a_client_that_never_finishes_its_request_cannot_hold_it_up(served: Served, client: Redis) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(
            f"POST /v1/events HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {served.key}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
        )

        served.stop()

        assert served.status() in {0, -signal.SIGTERM}
    assert depth(client) == {}
