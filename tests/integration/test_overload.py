"""The API sheds load before Redis is full, one tenant cannot fill the queue for another, and memory is bounded."""

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from common.errors import SettingsError
from common.queue.durability import check_durability
from common.queue.lane_consumer import LaneConsumer
from common.queue.streams import encode_entry, lane_of
from common.queue.withheld import Reason, WithheldEvents, WithheldPart
from common.redis import open_redis

NDJSON = {"Content-Type": "application/x-ndjson"}


def events(count: int, prefix: str = "e", size: int = 200) -> bytes:
    return b"\n".join(
        json.dumps(
            {
                "event_id": f"{prefix}-{number}",
                "event_type": "purchase",
                "customer_id": "c1",
                "data": {"amount": 1, "currency": "USD", "note": "x" * size},
            }
        ).encode()
        for number in range(count)
    )


def send(api: httpx.Client, body: bytes, key: str | None = None) -> httpx.Response:
    headers = NDJSON | ({"Authorization": f"Bearer {key}"} if key else {})
    return api.post("/v1/events", content=body, headers=headers)


def problem(answer: httpx.Response) -> tuple[int, str] | None:
    if answer.is_success:
        return None
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    return answer.status_code, answer.json()["code"]


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with open_redis(redis_url) as client:
        yield client


@pytest.fixture
def drain(client: Redis) -> Callable[[], int]:
    """Takes and acknowledges all that waits, as a worker does once it is stored."""

    def drain() -> int:
        consumer, count = LaneConsumer(client, "drain"), 0
        consumer.create_groups()
        while entries := consumer.read(100, 0):
            consumer.acknowledge(entries)
            count += sum(len(entry.records) for entry in entries)
        return count

    return drain


def withhold_all(client: Redis) -> None:
    """Does with all that waits what a worker does with refusals that it must not make."""
    consumer = LaneConsumer(client, "drain")
    consumer.create_groups()
    for entry in consumer.read(100, 0):
        reasons = [Reason("schema_violation", "purchase")] * len(entry.records)
        WithheldEvents(client).withhold([WithheldPart(entry, entry.records, reasons)])


@pytest.fixture
def serve(environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any) -> Any:
    """An API with changed settings; the key may do everything for `api_tenant`."""

    def serve(**changes: object) -> Any:
        return api_serving(environment | changes, api_store.key(api_tenant, "admin"))

    return serve


@contextmanager
def configured(client: Redis, **values: object) -> Iterator[None]:
    """Settings of Redis for as long as the block lasts."""
    names = {name.replace("_", "-"): value for name, value in values.items()}
    before = {name: client.config_get(name)[name] for name in names}
    try:
        for name, value in names.items():
            client.config_set(name, value)
        yield
    finally:
        for name, value in before.items():
            client.config_set(name, value)


def fill(api: httpx.Client, key: str | None = None, tries: int = 50) -> tuple[int, httpx.Response]:
    """Send until it is refused; returns how many events were accepted, and the refusal."""
    accepted = 0
    for number in range(tries):
        answer = send(api, events(10, f"{key}-{number}"), key)
        if answer.status_code != 202:
            return accepted, answer
        accepted += 10
    pytest.fail("was never refused")


def test_one_tenants_flood_is_a_429_for_it_and_nothing_for_the_others(
    serve: Any, api_store: Any, drain: Callable[[], int], until: Any
) -> None:
    other = api_store.key(api_store.tenant("other"), "ingest")
    with serve(SSPP_MAX_TENANT_QUEUED_BYTES=50_000) as api:
        accepted, refusal = fill(api)
        assert problem(refusal) == (429, "tenant_queue_full")
        assert send(api, events(10), other).status_code == 202

        assert drain() == accepted + 10

        until(lambda: send(api, events(1)).status_code == 202)


def test_a_full_queue_is_a_503_for_all_until_workers_have_drained_it(
    serve: Any, api_store: Any, drain: Callable[[], int], until: Any
) -> None:
    other = api_store.key(api_store.tenant("other"), "ingest")
    with serve(SSPP_MAX_QUEUED_BYTES=50_000) as api:
        accepted, refusal = fill(api)
        assert problem(refusal) == (503, "queue_full")
        assert problem(send(api, events(10), other)) == (503, "queue_full")

        assert drain() == accepted

        until(lambda: send(api, events(1)).status_code == 202)


def test_withheld_refusals_of_some_tenants_leave_half_of_the_queue_to_the_others(
    serve: Any, api_store: Any, api_tenant: int, client: Redis, until: Any
) -> None:
    """Nobody but an operator may end their waiting, so they must not close the queue for the rest meanwhile."""
    other = api_store.key(api_store.tenant("other"), "ingest")
    with serve(SSPP_MAX_QUEUED_BYTES=100_000) as api:
        for number in range(10):
            send(api, events(20, str(number))).raise_for_status()
        withhold_all(client)

        until(lambda: problem(send(api, events(1, "next"))) == (429, "refusals_withheld"))
        assert send(api, events(20), other).status_code == 202

        WithheldEvents(client).bring_back(api_tenant)
        # What is in the lane again is not withheld, and stored soon.
        until(lambda: send(api, events(1)).status_code == 202)


def test_what_another_process_pushed_counts_too(serve: Any, until: Any) -> None:
    with serve(SSPP_MAX_QUEUED_BYTES=50_000) as one, serve(SSPP_MAX_QUEUED_BYTES=50_000) as other:
        fill(one)

        until(lambda: send(other, events(10)).status_code == 503)


def test_a_process_that_starts_at_a_full_queue_knows_it(serve: Any) -> None:
    with serve() as api:
        for number in range(5):
            send(api, events(50, str(number))).raise_for_status()
    with serve(SSPP_MAX_QUEUED_BYTES=50_000) as api:
        assert problem(send(api, events(1))) == (503, "queue_full")


def test_events_that_wait_too_long_are_a_503_for_their_lane(
    serve: Any, api_store: Any, api_tenant: int, client: Redis, drain: Callable[[], int], until: Any
) -> None:
    other = api_store.key(api_store.tenant("other"), "ingest")
    client.xadd(lane_of(api_tenant), encode_entry(api_tenant, []), id="1-0")
    with serve(SSPP_MAX_QUEUE_AGE_SECONDS=3600) as api:
        assert problem(send(api, events(1))) == (503, "queue_too_old")
        assert send(api, events(1), other).status_code == 202

        drain()

        until(lambda: send(api, events(1)).status_code == 202)
    client.xadd(lane_of(api_tenant), encode_entry(api_tenant, []))
    with serve(SSPP_MAX_QUEUE_AGE_SECONDS=0) as api:
        assert send(api, events(1)).status_code == 202


def test_load_is_shed_while_redis_has_memory_left_for_the_workers(
    serve: Any, client: Redis, until: Any
) -> None:
    with serve(SSPP_MAX_REDIS_MEMORY=0.75) as api:
        used = client.info("memory")["used_memory"]
        with configured(client, maxmemory=int(used * 1.25)):
            until(lambda: send(api, events(1)).status_code == 503)
            assert problem(send(api, events(1))) == (503, "queue_memory_low")
            client.set("there is", "room to work in")
        until(lambda: send(api, events(1)).status_code == 202)


def test_every_way_into_the_queue_has_the_same_door(serve: Any, api_store: Any, api_tenant: int) -> None:
    api_store.rejection(api_tenant, "r1", raw=events(1, size=5000).decode())
    with serve(SSPP_MAX_TENANT_QUEUED_BYTES=50_000) as api:
        fill(api)

        assert problem(api.post("/v1/rejected/replay", json={})) == (429, "tenant_queue_full")
        assert problem(api.patch("/v1/customers/c1", json={"custom_fields": {"note": "x" * 5000}})) == (
            429,
            "tenant_queue_full",
        )
    assert api_store.execute("SELECT replayed_at FROM rejected_events") == [(None,)]


def test_the_metrics_show_what_waits_and_what_was_shed(serve: Any, until: Any) -> None:
    with serve(SSPP_MAX_QUEUED_BYTES=50_000) as api:
        fill(api)

        def shown() -> dict[str, float]:
            lines = (line for line in api.get("/metrics").text.splitlines() if line.startswith("sspp_"))
            return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

        until(lambda: shown()["sspp_queued_bytes"] > 40_000)
        assert shown()["sspp_queued_bytes_limit"] == 50_000
        assert shown()['sspp_requests_shed_total{code="queue_full"}'] == 1


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


def test_a_client_that_asks_first_is_told_before_it_sends(serve: Any) -> None:
    with serve(SSPP_MAX_TENANT_QUEUED_BYTES=50_000) as api:
        fill(api)
        _, rest = converse(api, ["Content-Length: 1000000", "Expect: 100-continue"])
        answer = rest()

    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"connection: close" in answer.lower()
    assert b"100 Continue" not in answer


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
        assert "sspp_body_bytes 0.0\n" in api.get("/metrics").text


def test_a_body_larger_than_all_together_may_have_gets_in_alone(serve: Any) -> None:
    with serve(SSPP_MAX_INFLIGHT_BYTES=10_000) as api:
        assert send(api, events(1, size=50_000)).status_code == 202


UNSAFE = pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy noeviction"),
        ({"appendonly": "no"}, "appendonly yes"),
    ],
    ids=["evicting", "without AOF"],
)


@UNSAFE
def test_a_redis_that_could_lose_events_is_refused_in_production(
    client: Redis, settings: dict[str, str], words: str
) -> None:
    with configured(client, **settings):
        with pytest.raises(SettingsError, match=words):
            check_durability(client, "production")
        check_durability(client, "development")


@UNSAFE
def test_with_a_redis_that_could_lose_events_a_running_api_is_unready_and_acknowledges_nothing(
    client: Redis, serve: Any, until: Any, settings: dict[str, str], words: str
) -> None:
    with serve(SSPP_ENVIRONMENT="production") as api, configured(client, **settings):
        ready = api.get("/readyz")
        assert ready.status_code == 503
        assert words in ready.json()["dependencies"]["redis"]["detail"]
        until(lambda: send(api, events(1)).status_code == 503)
        assert problem(send(api, events(1))) == (503, "queue_unsafe")
    with serve(SSPP_ENVIRONMENT="development") as api, configured(client, **settings):
        assert api.get("/readyz").status_code == 200
        assert send(api, events(1)).status_code == 202


def test_neither_api_nor_workers_start_with_a_redis_that_could_lose_events(
    client: Redis, environment: dict[str, str]
) -> None:
    rq = str(Path(sys.executable).with_name("rq"))
    variables = {"PATH": os.environ["PATH"], "PORT": "0"} | environment | {"SSPP_ENVIRONMENT": "production"}
    with configured(client, maxmemory_policy="allkeys-lru"):
        for who, command in {
            "API": (sys.executable, "-m", "api"),
            "worker": (rq, "worker", "ingest"),
        }.items():
            ended = subprocess.run(
                command, env=variables, capture_output=True, text=True, timeout=60, check=False
            )
            assert ended.returncode == 1
            assert f"The {who} cannot start: Redis would evict" in ended.stderr
            assert "set maxmemory-policy noeviction" in ended.stderr


def test_a_redis_that_flushes_now_and_then_is_warned_of(
    client: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    with configured(client, appendonly="yes", appendfsync="everysec"):
        check_durability(client, "production")

    assert "set appendfsync always" in capsys.readouterr().out
