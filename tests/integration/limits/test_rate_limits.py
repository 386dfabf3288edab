"""What a plan allows a second: shared by all processes, told in the answers, and cheap to ask."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from redis import Redis

from api.access.token_lease import LeaseStore, TokenLease
from common.redis import open_async_redis, open_redis

TRIES = 100
NOWHERE = "redis://127.0.0.1:1/0"
Limit = Callable[..., None]


def event(number: int) -> dict[str, Any]:
    data = {"amount": 1, "currency": "USD"}
    return {"event_id": f"e{number}", "event_type": "purchase", "customer_id": "c1", "data": data}


def events(count: int) -> list[dict[str, Any]]:
    return [event(number) for number in range(count)]


def first_refusal(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Asks until it is too much, which it is unless each request takes longer than a token to come."""
    answers = (ask() for _ in range(TRIES))
    return next(answer for answer in answers if answer.status_code == 429)


@pytest.fixture
def limit(api_store: Any, api_tenant: int) -> Limit:
    """Gives `api_tenant` a plan with these limits."""

    def limit(requests: int | None = None, events: int | None = None) -> None:
        api_store.execute(
            "UPDATE plans SET requests_per_second = %s, events_per_second = %s WHERE plan = 'trial'",
            (requests, events),
        )
        api_store.execute("UPDATE tenants SET plan = 'trial' WHERE tenant_id = %s", (api_tenant,))

    return limit


@pytest.fixture
def serve(environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any) -> Any:
    """An API with changed settings; the key may read and send for `api_tenant`."""
    key = api_store.key(api_tenant, "read", "ingest")
    return lambda **changes: api_serving(environment | changes, key)


@pytest.fixture
def cache(environment: dict[str, str]) -> Iterator[Redis]:
    with open_redis(environment["CACHE_URL"]) as client:
        yield client


def test_more_requests_than_the_plan_allows_are_told_when_to_come_back(
    serve: Any, limit: Limit, until: Any
) -> None:
    limit(requests=1)
    with serve() as api:
        refusal = first_refusal(lambda: api.get("/v1/signals"))

        assert refusal.json()["code"] == "rate_limited"
        assert refusal.headers["retry-after"] == "1"
        assert refusal.headers["ratelimit-policy"] == '"requests";q=1;w=1'
        assert refusal.headers["ratelimit"] == '"requests";r=0;t=1'
        until(lambda: api.get("/v1/signals").status_code == 200)


def test_a_tenant_sees_where_it_stands_and_one_without_limits_nothing(
    serve: Any, limit: Limit, api_store: Any
) -> None:
    limit(requests=500, events=50)
    free = api_store.key(api_store.tenant("free"), "ingest")
    with serve(SSPP_MAX_REQUEST_EVENTS="1000") as api:
        answer = api.post("/v1/events", json=events(10))
        assert answer.status_code == 202
        assert answer.headers["ratelimit-policy"] == '"requests";q=500;w=1, "events";q=1000;w=20'
        shown = re.fullmatch(r'"requests";r=(\d+);t=1, "events";r=(\d+);t=\d+', answer.headers["ratelimit"])
        assert shown is not None
        assert 450 <= int(shown[1]) < 500
        assert 900 <= int(shown[2]) <= 990

        answer = api.post("/v1/events", json=events(1), headers={"Authorization": f"Bearer {free}"})
        assert answer.status_code == 202
        assert not [name for name in answer.headers if name.startswith("ratelimit")]


def test_the_largest_request_gets_in_under_the_smallest_plan_and_the_next_has_to_wait(
    serve: Any, limit: Limit
) -> None:
    limit(events=1)
    with serve(SSPP_MAX_REQUEST_EVENTS="100") as api:
        assert api.post("/v1/events", json=events(100)).status_code == 202

        refusal = api.post("/v1/events", json=events(100))

        assert refusal.status_code == 429
        # Fewer tokens are missing than the bucket holds, by the seconds that went by meanwhile.
        assert 1 <= int(refusal.headers["retry-after"]) <= 100
        assert api.get("/v1/signals").status_code == 200


def test_several_processes_together_admit_what_the_bucket_holds(serve: Any, limit: Limit) -> None:
    limit(events=10)
    with serve(SSPP_MAX_REQUEST_EVENTS="50") as one, serve(SSPP_MAX_REQUEST_EVENTS="50") as other:
        began, accepted = time.monotonic(), 0
        for number in range(200):
            answer = (one, other)[number % 2].post("/v1/events", json=event(number))
            accepted += answer.status_code == 202
        elapsed = time.monotonic() - began

    assert 50 <= accepted <= 50 + 10 * elapsed + 1


def test_a_change_of_profile_counts_as_an_event(serve: Any, limit: Limit) -> None:
    limit(events=1)
    with serve(SSPP_MAX_REQUEST_EVENTS="1") as api:
        refusal = first_refusal(lambda: api.patch("/v1/customers/c1", json={"name": "Ada"}))

    assert refusal.json()["code"] == "rate_limited"


def test_without_the_cache_nobody_is_limited(serve: Any, limit: Limit) -> None:
    limit(requests=1, events=1)
    with serve(CACHE_URL=NOWHERE) as api:
        assert {api.get("/v1/signals").status_code for _ in range(20)} == {200}
        assert {api.post("/v1/events", json=event(n)).status_code for n in range(20)} == {202}


def test_another_plan_holds_within_two_seconds(serve: Any, limit: Limit, until: Any) -> None:
    limit(requests=1)
    with serve() as api:
        first_refusal(lambda: api.get("/v1/signals"))
        limit(requests=None)

        until(lambda: "ratelimit" not in api.get("/v1/signals").headers, timeout=2)


def test_a_larger_plan_opens_for_who_has_used_up_the_smaller_one(
    serve: Any, limit: Limit, until: Any
) -> None:
    limit(events=1)  # refilled in a quarter of an hour
    with serve(SSPP_MAX_REQUEST_EVENTS="1000") as client:
        assert client.post("/v1/events", json=events(1000)).status_code == 202
        assert client.post("/v1/events", json=event(1000)).status_code == 429

        limit(events=5000)

        until(lambda: client.post("/v1/events", json=event(1001)).status_code == 202)
        standing = client.post("/v1/events", json=event(1002)).headers["ratelimit"]
        left = re.search(r"r=(-?\d+)", standing)
        assert left is not None
        assert 0 <= int(left[1]) <= 5000


def test_what_is_turned_away_is_counted(serve: Any, limit: Limit) -> None:
    limit(requests=1)
    with serve() as api:
        first_refusal(lambda: api.get("/v1/signals"))

        assert 'sspp_requests_shed_total{code="rate_limited"} 1.0' in api.get("/metrics").text


def asked(cache: Redis) -> int:
    """How often the library's script has run since the statistics were reset."""
    stats: Any = cache.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))


def take(cache_url: str, times: int, *, rate: int, capacity: int, at_once: int = 1) -> tuple[int, float]:
    """Take one token so often; returns how often there was one, and the seconds that it took."""

    async def run() -> tuple[int, float]:
        async with open_async_redis(cache_url) as client:
            lease = TokenLease(LeaseStore(client), "requests:7", rate=rate, capacity=capacity)
            began = time.monotonic()
            taken = 0
            for _ in range(times // at_once):
                taken += sum(await asyncio.gather(*(lease.take(1) for _ in range(at_once))))
            return taken, time.monotonic() - began

    return asyncio.run(run())


@pytest.mark.parametrize("at_once", [1, 50])
def test_a_request_costs_no_round_trip(cache: Redis, environment: dict[str, str], at_once: int) -> None:
    cache.config_resetstat()

    taken, _ = take(environment["CACHE_URL"], 500, rate=1000, capacity=1000, at_once=at_once)

    assert taken == 500
    assert asked(cache) <= 500 // 100 + 1  # the first time the script is unknown there


def test_who_is_refused_costs_no_round_trip_either(cache: Redis, environment: dict[str, str]) -> None:
    cache.config_resetstat()

    taken, elapsed = take(environment["CACHE_URL"], 2000, rate=1, capacity=5)

    assert 5 <= taken <= 5 + elapsed + 1
    assert asked(cache) <= 2 * taken + 2


def test_what_is_left_of_a_bucket_is_given_out_though_it_is_less_than_a_lease(
    environment: dict[str, str],
) -> None:
    taken, elapsed = take(environment["CACHE_URL"], 200, rate=20, capacity=25)

    assert 25 <= taken <= 25 + 20 * elapsed + 1
