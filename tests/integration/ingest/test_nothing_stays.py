"""What a request, an attempt or a batch held is free as soon as it is over: the garbage collector comes seldom."""

import gc
import gzip
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import redis.exceptions
from elastic_transport import TransportError
from redis import Redis
from starlette.requests import Request

from api.ingest.publisher import _Parcel
from common.drain import Drain
from common.errors import QueueUnavailableError, SearchUnavailableError, SsppError
from common.metrics import Metrics
from common.redis import open_redis
from common.search.bulk import write_documents
from common.search.client import open_client
from common.search.documents import Document
from common.settings import load_settings
from common.wakeup import Waker

NOWHERE = "redis://127.0.0.1:1/0"
NDJSON = {"Content-Type": "application/x-ndjson"}
EVENT = b'{"event_id":"%d","event_type":"purchase","customer_id":"c1","data":{"amount":1,"currency":"USD"}}'
EVENTS = b"\n".join(EVENT % number for number in range(20))
TIMES = 5


@contextmanager
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive(*kinds: type) -> list[str]:
    """What exists of these types, garbage that nobody collected included."""
    return [type(thing).__name__ for thing in gc.get_objects() if issubclass(type(thing), kinds)]


def post(api: httpx.Client, body: bytes, **headers: str) -> httpx.Response:
    return api.post("/v1/events", content=body, headers=NDJSON | headers)


def assert_nothing_stays_of(send: Callable[[], int], expected: int, until: Any) -> None:
    assert send() == expected  # what is made once and kept is made now
    with no_collection():
        assert {send() for _ in range(TIMES)} == {expected}
        until(lambda: not alive(Request, _Parcel, SsppError))


@pytest.fixture
def key(api_store: Any, api_tenant: int) -> str:
    return str(api_store.key(api_tenant, "admin"))


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (EVENTS, {}, 202),
        (gzip.compress(EVENTS), {"Content-Encoding": "gzip"}, 202),
        (EVENTS[:-3], {}, 202),
        (EVENTS[:90], {}, 422),
        (EVENTS.replace(b"c1", b"\xff"), {}, 422),
        (EVENTS.replace(b"c1", b"\\ud800"), {}, 422),
        (EVENTS.replace(b'{"amount', b"[" * 90 + b'{"amount'), {}, 422),
        (EVENTS.replace(b"event_type", b"no_type"), {}, 422),
        (b"x" * 300_000, {}, 422),
        (EVENTS * 10_000, {}, 413),
        (EVENTS, {"Content-Encoding": "gzip"}, 422),
        (EVENTS, {"Content-Type": "text/plain"}, 415),
        (EVENTS, {"Authorization": "Bearer unknown"}, 401),
    ],
    ids=[
        "accepted",
        "zipped",
        "last one cut",
        "cut",
        "no UTF-8",
        "lone surrogate",
        "nested",
        "no envelope",
        "large event",
        "large body",
        "no gzip",
        "no media type",
        "no key",
    ],
)
def test_nothing_stays_of_a_request(
    api: httpx.Client, until: Any, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert_nothing_stays_of(lambda: post(api, body, **headers).status_code, status, until)


@pytest.mark.parametrize(
    ("server", "url", "method", "path"),
    [
        ("REDIS_URL", NOWHERE, "POST", "/v1/events"),
        ("REDIS_URL", NOWHERE, "PATCH", "/v1/customers/c1"),
        ("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere", "POST", "/v1/events"),
        ("ELASTICSEARCH_URL", "http://127.0.0.1:1", "GET", "/v1/search?q=x"),
    ],
)
def test_nothing_stays_of_a_request_while_a_server_is_away(
    environment: dict[str, str],
    api_serving: Any,
    key: str,
    until: Any,
    server: str,
    url: str,
    method: str,
    path: str,
) -> None:
    with api_serving(environment | {server: url}, key) as api:
        body = {"content": EVENTS, "headers": NDJSON} if method == "POST" else {"json": {"name": "x"}}
        send = lambda: api.request(method, path, **({} if method == "GET" else body)).status_code  # noqa: E731
        assert_nothing_stays_of(send, 503, until)


def test_nothing_stays_of_a_request_that_redis_refuses(
    environment: dict[str, str], api_serving: Any, key: str, until: Any, redis_url: str
) -> None:
    # At its limit, Redis refuses each command and then the transaction; the API is told not to look.
    with (
        api_serving(environment | {"SSPP_MAX_REDIS_MEMORY": "1"}, key) as api,
        open_redis(redis_url) as client,
    ):
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", 1)
        try:
            assert_nothing_stays_of(lambda: post(api, EVENTS).status_code, 503, until)
        finally:
            client.config_set("maxmemory", before)


def test_nothing_stays_of_a_request_whose_body_does_not_come(
    environment: dict[str, str], api_serving: Any, key: str, until: Any
) -> None:
    with api_serving(environment | {"SSPP_BODY_TIMEOUT_SECONDS": "0.2"}, key) as api:
        lines = (
            f"POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 99999\r\n"
        )
        head = lines.encode() + b"content-type: application/x-ndjson\r\n\r\n"

        def too_slow() -> int:
            with socket.create_connection(("127.0.0.1", api.base_url.port or 0), timeout=30) as connection:
                connection.sendall(head + EVENTS)
                return int(connection.recv(65536).split()[1])

        def hangs_up() -> int:
            with socket.create_connection(("127.0.0.1", api.base_url.port or 0), timeout=30) as connection:
                connection.sendall(head + EVENTS)
            return 0

        assert_nothing_stays_of(too_slow, 408, until)
        assert_nothing_stays_of(hangs_up, 0, until)


class Outage:
    """A stage whose first steps fail as `attempt` does, and its end, if that has something to do, as `at_the_end`."""

    queue = "probe"

    def __init__(self, attempt: Callable[[], None], at_the_end: Callable[[], None] = lambda: None) -> None:
        self._attempt = attempt
        self._at_the_end = at_the_end
        self.attempts = 0

    def step(self, wait_seconds: float) -> int:  # part of the stage protocol
        self.attempts += 1
        if self.attempts <= TIMES:
            self._attempt()
        return 0

    def rescue(self, live: set[str]) -> int:
        return 0

    def backlog(self) -> int:
        return 0

    def finish(self) -> int:
        return 0

    def close(self) -> None:
        self._at_the_end()


def index_in_vain(*, skip_present: bool) -> None:
    documents = [Document("signals-2026-11", f"id-{number}", b'{"a": 1}') for number in range(20)]
    with open_client("http://127.0.0.1:1") as search:
        outcome = write_documents(search, documents, skip_present=skip_present)
    assert outcome.away
    raise SearchUnavailableError


def acknowledge_in_vain() -> None:
    with open_redis(NOWHERE) as nowhere:
        try:
            nowhere.ping()
        except redis.exceptions.ConnectionError as error:
            raise QueueUnavailableError from error


@pytest.fixture
def drained(
    client: Redis, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Outage], list[str]]:
    """Drains a stage, and returns what errors are left of that."""
    monkeypatch.setattr("common.drain._FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("common.drain._LONGEST_PAUSE_SECONDS", 0.01)
    settings = load_settings().model_copy(update={"drain_linger_seconds": 0.01})

    def drained(stage: Outage) -> list[str]:
        drain = Drain(
            stage,
            name="me",
            client=client,
            waker=Waker(client, liveness_seconds=30),
            metrics=Metrics(),
            settings=settings,
            stop=lambda: False,
        )
        with no_collection():
            drain.run()
            return alive(SsppError, TransportError, OSError)

    return drained


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: index_in_vain(skip_present=False),
        lambda: index_in_vain(skip_present=True),
        acknowledge_in_vain,
    ],
    ids=["search is away", "search is away as it is asked", "redis is away"],
)
def test_nothing_stays_of_what_a_drain_tried_in_vain(
    attempt: Callable[[], None], drained: Callable[[Outage], list[str]]
) -> None:
    stage = Outage(attempt)

    left = drained(stage)

    assert stage.attempts > TIMES
    assert not left


def test_nothing_stays_of_a_drain_that_could_not_give_up_what_it_had(
    drained: Callable[[Outage], list[str]],
) -> None:
    assert not drained(Outage(lambda: None, at_the_end=acknowledge_in_vain))
