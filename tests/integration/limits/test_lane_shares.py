"""Tenants that share a lane: one that sends much lets the others pass, and nothing of it is lost on its second way."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import redis.asyncio
from ingest_pipeline import IngestPipeline as Pipeline
from redis import Redis

from api.ingest.admission import Admission
from api.ingest.publisher import Publisher
from common.metrics import Metrics
from common.queue.lane_consumer import LaneConsumer
from common.queue.queued_bytes import BYTES_KEY, count_on
from common.queue.streams import (
    DEPTH_KEY,
    Record,
    busy_lane_of,
    depth,
    encode_entry,
    entry_size,
    lane_of,
    oldest_ages,
)
from common.queue.withheld import Reason, WithheldEvents, WithheldPart
from common.redis import open_async_redis, open_redis
from common.settings import Settings
from common.wakeup import Waker
from worker.ingest.quiet_tenants import MOST_EVENTS_AT_ONCE

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BUSY, QUIET = 7, 23  # in the same lane
SHARE = 50_000


def records(count: int, prefix: str = "e", size: int = 100) -> list[Record]:
    return [Record(f"{prefix}{number}", NOON, purchase(f"{prefix}{number}", size)) for number in range(count)]


def purchase(event_id: str, size: int = 100) -> bytes:
    data = {"amount": "10.00", "currency": "USD", "note": "x" * size}
    envelope = {"event_id": event_id, "event_type": "purchase", "customer_id": "c1", "data": data}
    return json.dumps(envelope).encode()


Publish = Callable[..., None]


@pytest.fixture
def publish(redis_url: str) -> Publish:
    """Publishes what is given, one push after the other, as an API process does."""

    async def push(pushes: tuple[tuple[int, list[Record]], ...]) -> None:
        names = ("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL")
        settings = Settings.model_validate(dict.fromkeys(names, "") | {"SSPP_LANE_SHARE_BYTES": SHARE})
        client: redis.asyncio.Redis
        async with open_async_redis(redis_url) as client:
            with open_redis(redis_url) as waking:
                admission = Admission(client, settings, Metrics())
                await admission.start()
                waker = Waker(waking, liveness_seconds=5)
                publisher = Publisher(client, waker, Metrics(), admission, liveness_seconds=5)
                await publisher.start()
                for tenant, some in pushes:
                    await publisher.publish(tenant, some)
                await publisher.stop()
                await admission.stop()

    return lambda *pushes: asyncio.run(push(pushes))


def sizes(client: Redis, stream: str) -> dict[int, int]:
    """Bytes in a stream, by tenant."""
    found: dict[int, int] = {}
    entries: Any = client.xrange(stream)
    for _, fields in entries:
        tenant = int(fields[b"tenant"])
        found[tenant] = found.get(tenant, 0) + int(fields[b"bytes"])
    return found


def test_what_exceeds_a_tenants_share_leaves_the_lane_to_the_others(client: Redis, publish: Publish) -> None:
    publish((BUSY, records(1000)), (QUIET, records(3, "q")), (BUSY, records(1, "more")))

    in_lane, beyond = sizes(client, lane_of(BUSY)), sizes(client, busy_lane_of(BUSY))
    assert 0 < in_lane[BUSY] <= SHARE
    assert beyond.keys() == {BUSY}
    assert in_lane.keys() == {BUSY, QUIET}
    assert depth(client) == {lane_of(BUSY): 1004}


def test_who_sends_little_keeps_to_the_lane_whatever_of_it_waits(client: Redis, publish: Publish) -> None:
    fields = encode_entry(QUIET, records(3, "before"))
    client.xadd(lane_of(QUIET), fields)
    client.hset(BYTES_KEY, mapping={str(QUIET): 10 * SHARE, "total": 10 * SHARE})

    publish((QUIET, records(3, "q")))

    assert len(client.xrange(lane_of(QUIET))) == 2
    assert sizes(client, busy_lane_of(QUIET)) == {}


def test_once_its_share_is_free_a_tenant_is_back_in_the_lane(client: Redis, publish: Publish) -> None:
    publish((BUSY, records(1000)))
    consumer = LaneConsumer(client, "drain")
    consumer.create_groups()
    while entries := consumer.read(100, 0):
        consumer.acknowledge(entries)
    assert depth(client) == {}

    publish((BUSY, records(1)))

    assert sizes(client, lane_of(BUSY)).keys() == {BUSY}
    assert sizes(client, busy_lane_of(BUSY)) == {}


def test_a_read_brings_the_lanes_first_and_a_rescue_both(client: Redis, publish: Publish) -> None:
    publish((BUSY, records(1000)), (QUIET, records(3, "q")))
    dead, heir = LaneConsumer(client, "dead"), LaneConsumer(client, "heir")
    dead.create_groups()

    taken = dead.read(100, 0)

    kinds = [entry.is_busy for entry in taken]
    assert kinds == sorted(kinds)
    assert set(kinds) == {False, True}
    claimed = heir.claim_orphans({"heir"}, 10_000)
    assert {(entry.lane, entry.entry_id) for entry in claimed} == {
        (entry.lane, entry.entry_id) for entry in taken
    }
    heir.acknowledge(claimed)
    assert depth(client) == {}


def test_a_lane_is_as_old_as_the_oldest_of_its_streams(client: Redis) -> None:
    client.xadd(busy_lane_of(BUSY), encode_entry(BUSY, records(1)), id="1-0")

    assert oldest_ages(client)[lane_of(BUSY)] > 1_000_000


def test_withheld_events_that_come_back_let_the_others_pass(client: Redis, publish: Publish) -> None:
    publish((BUSY, records(5)))
    consumer, withheld = LaneConsumer(client, "drain"), WithheldEvents(client)
    consumer.create_groups()
    reasons = [Reason("schema_violation", "purchase")] * 5
    withheld.withhold(WithheldPart(entry, entry.records, reasons) for entry in consumer.read(10, 0))

    assert withheld.bring_back(BUSY) == 5

    assert sizes(client, busy_lane_of(BUSY)).keys() == {BUSY}
    assert depth(client) == {lane_of(BUSY): 5}


def push_busy(pipeline: Pipeline, prefix: str, entries: int, events: int) -> None:
    """Queue events of the busy tenant in the second stream of its lane."""
    batch = pipeline.redis.pipeline()
    for number in range(entries):
        fields = encode_entry(BUSY, records(events, f"{prefix}{number}-", 10))
        batch.xadd(busy_lane_of(BUSY), fields)
        batch.hincrby(DEPTH_KEY, busy_lane_of(BUSY), events)
        count_on(batch, {BUSY: entry_size(fields)})
    batch.execute()


@pytest.fixture
def quiet_tenant(pipeline: Pipeline) -> int:
    with pipeline.pool.connection() as connection:
        connection.execute(
            "INSERT INTO tenants (tenant_id, slug, name) VALUES (%s, 'quiet', 'Quiet')", (QUIET,)
        )
    return QUIET


def beset_stage(pipeline: Pipeline, quiet_tenant: int) -> Any:
    """A stage before which an event of the quiet tenant, q0, waits beside far more of the busy one."""
    push_busy(pipeline, "b", entries=40, events=50)
    pipeline.push(purchase("q0"), tenant=quiet_tenant)
    return pipeline.stage()


def is_stored(pipeline: Pipeline, event_id: str) -> bool:
    query = "SELECT count(*) FROM events WHERE tenant_id = %(tenant)s AND event_id = %(event)s"
    [row] = pipeline.rows(query, tenant=QUIET, event=event_id)
    return bool(row["count"])


def test_a_quiet_tenants_event_is_stored_next_whatever_the_busy_one_has_waiting(
    pipeline: Pipeline, quiet_tenant: int
) -> None:
    stage = beset_stage(pipeline, quiet_tenant)
    while not is_stored(pipeline, "q0"):
        stage.step(0)
    stage.step(0)  # they take turns: this one is the busy tenant's

    handled, rescues = [], []
    for number in range(1, 8):
        rescues.append(stage.rescue({"drain-1"}))  # as the drain asks from time to time
        pipeline.push(purchase(f"q{number}"), tenant=quiet_tenant)
        handled.append(stage.step(0))
        assert is_stored(pipeline, f"q{number}"), number
        handled.append(stage.step(0))

    assert handled[::2] == [1] * 7
    assert None in rescues  # with its hands full it lets them pass as well
    assert all(0 < events <= MOST_EVENTS_AT_ONCE for events in handled[1::2])
    while stage.step(0):
        pass
    stage.close()
    assert pipeline.value("SELECT count(*) FROM events") == 40 * 50 + 8
    assert depth(pipeline.redis) == {}


def test_a_tenant_that_is_alone_is_stored_in_long_batches(pipeline: Pipeline) -> None:
    push_busy(pipeline, "b", entries=20, events=100)
    stage = pipeline.stage()

    handled = []
    while events := stage.step(0):
        handled.append(events)
    stage.close()

    assert sum(handled) == 2000
    assert max(handled) > 2 * MOST_EVENTS_AT_ONCE


def test_a_drain_whose_time_is_over_takes_nothing_more_of_quiet_tenants(
    pipeline: Pipeline, quiet_tenant: int
) -> None:
    stage = beset_stage(pipeline, quiet_tenant)
    while not stage._held:
        stage.step(0)
    pipeline.push(purchase("late"), tenant=quiet_tenant)

    stage.finish()
    stage.close()

    assert not is_stored(pipeline, "late")
    assert pipeline.drain() > 0
    assert is_stored(pipeline, "late")
