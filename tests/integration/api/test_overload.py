"""The API sheds load before Redis is full, and one tenant cannot fill the queue for another."""

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from redis_settings import configured
from sending import events, fill, problem, send

from common.queue.lane_consumer import LaneConsumer
from common.queue.streams import busy_lane_of, encode_entry, lane_of
from common.queue.withheld import Reason, WithheldEvents, WithheldPart


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


@pytest.mark.parametrize(
    ("limit", "refused", "another_tenants"),
    [
        pytest.param(
            "SSPP_MAX_TENANT_QUEUED_BYTES", (429, "tenant_queue_full"), None, id="one tenant's flood"
        ),
        pytest.param("SSPP_MAX_QUEUED_BYTES", (503, "queue_full"), (503, "queue_full"), id="a full queue"),
    ],
)
def test_a_flood_is_a_429_for_its_tenant_and_a_full_queue_a_503_for_all_until_workers_have_drained_it(
    serve: Any,
    api_store: Any,
    drain: Callable[[], int],
    until: Any,
    limit: str,
    refused: tuple[int, str],
    another_tenants: tuple[int, str] | None,
) -> None:
    other = api_store.key(api_store.tenant("other"), "ingest")
    with serve(**{limit: 50_000}) as api:
        accepted, refusal = fill(api)
        assert problem(refusal) == refused
        assert problem(send(api, events(10), other)) == another_tenants

        assert drain() == accepted + (0 if another_tenants else 10)

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
    # What a busy tenant has waiting beyond its share is no reason to turn others away.
    client.xadd(busy_lane_of(api_tenant), encode_entry(api_tenant, []), id="1-0")
    with serve(SSPP_MAX_QUEUE_AGE_SECONDS=3600) as api:
        assert send(api, events(1)).status_code == 202
    with serve(SSPP_MAX_QUEUE_AGE_SECONDS=3600, SSPP_LANE_SHARE_BYTES=0) as api:
        assert problem(send(api, events(1))) == (503, "queue_too_old")
        drain()
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
