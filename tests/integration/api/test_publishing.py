"""From accepted to durable: how events are pushed into their lanes, and when they are not."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import redis
import redis.asyncio
from redis_settings import configured
from sending import EVENT, event

from api.ingest.admission import Admission
from api.ingest.publisher import Publisher
from common.metrics import Metrics
from common.queue.streams import Entry, Record, depth, lane_of
from common.redis import open_async_redis, open_redis
from common.settings import Settings
from common.wakeup import Waker, job_queue


def new_publisher(client: redis.asyncio.Redis, waking: redis.Redis, metrics: Metrics) -> Publisher:
    settings = Settings.model_validate(dict.fromkeys(("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL"), ""))
    admission = Admission(client, settings, metrics)
    return Publisher(client, Waker(waking, liveness_seconds=5), metrics, admission, liveness_seconds=5)


def test_an_accepted_event_wakes_one_drain(api: httpx.Client, redis_url: str, until: Any) -> None:
    for number in range(3):
        api.post("/v1/events", json=event(f"e{number}")).raise_for_status()

    with open_redis(redis_url) as client:
        queue = job_queue("ingest", client)
        until(lambda: queue.count == 1)
        assert queue.jobs[0].args == ["ingest"]


def test_without_redis_nothing_is_acknowledged(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any
) -> None:
    with api_serving(
        environment | {"REDIS_URL": "redis://127.0.0.1:1/0"}, api_store.key(api_tenant, "ingest")
    ) as api:
        answer = api.post("/v1/events", json=EVENT)

    assert (answer.status_code, answer.json()["code"]) == (503, "queue_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_redis_that_refuses_writes_is_a_503_until_it_takes_them(
    api: httpx.Client, client: redis.Redis, queued: Callable[[], list[Entry]]
) -> None:
    with configured(client, maxmemory=1):
        answer = api.post("/v1/events", json=EVENT)

    assert (answer.status_code, answer.json()["code"]) == (503, "queue_unavailable")
    assert queued() == []
    assert api.post("/v1/events", json=EVENT).status_code == 202


def test_what_arrives_during_a_push_shares_the_next_one(redis_url: str) -> None:
    metrics = Metrics()
    now = datetime.now(UTC)

    async def publish_many() -> None:
        async with open_async_redis(redis_url) as client:
            with open_redis(redis_url) as waking:
                publisher = new_publisher(client, waking, metrics)
                await publisher.start()
                await asyncio.gather(
                    *(
                        publisher.publish(number % 3, [Record(f"e{number}", now, b"{}")])
                        for number in range(300)
                    )
                )
                await publisher.stop()

    asyncio.run(publish_many())

    pushes = metrics.registry.get_sample_value("sspp_push_events_count")
    assert metrics.registry.get_sample_value("sspp_push_events_sum") == 300
    assert pushes is not None
    assert pushes <= 3
    with open_redis(redis_url) as client:
        assert depth(client) == {lane_of(tenant): 100 for tenant in range(3)}


def test_stopping_pushes_what_still_waits(redis_url: str, queued: Callable[[], list[Entry]]) -> None:
    async def publish_and_stop() -> None:
        async with open_async_redis(redis_url) as client:
            with open_redis(redis_url) as waking:
                publisher = new_publisher(client, waking, Metrics())
                await publisher.start()
                waiting = asyncio.create_task(publisher.publish(1, [Record("e1", datetime.now(UTC), b"{}")]))
                await asyncio.sleep(0)
                await publisher.stop()
                await waiting

    asyncio.run(publish_and_stop())

    assert len(queued()) == 1


def test_entries_stay_small_whatever_a_request_holds(
    api: httpx.Client, queued: Callable[[], list[Entry]]
) -> None:
    small = [event(f"s{number}") for number in range(300)]
    large = [event(f"l{number}", data={"note": "x" * 100_000}) for number in range(5)]
    api.post("/v1/events", json=small + large).raise_for_status()

    sizes = [len(entry.records) for entry in queued()]
    assert sum(sizes) == 305
    assert max(sizes) <= 128
    assert sizes[-4:] == [1, 1, 1, 1]


def test_metrics_tell_what_waits_in_the_lanes_and_in_the_outbox(
    api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    api.post("/v1/events", json=[event("e1"), event("e2")]).raise_for_status()
    api_store.execute(
        "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until, created_at)"
        " VALUES (1, %s, ARRAY[gen_random_uuid(), gen_random_uuid()], now(), now(), now() - interval '1 hour')",
        (api_tenant,),
    )
    lines = dict(
        line.rsplit(" ", 1) for line in api.get("/metrics").text.splitlines() if not line.startswith("#")
    )

    assert float(lines[f'sspp_lane_depth_events{{lane="{lane_of(api_tenant)}"}}']) == 2
    assert float(lines[f'sspp_lane_oldest_age_seconds{{lane="{lane_of(api_tenant)}"}}']) >= 0
    assert float(lines["sspp_outbox_depth_signals"]) == 2
    assert float(lines["sspp_outbox_oldest_age_seconds"]) >= 3600
    assert float(lines["sspp_events_accepted_total"]) == 2
