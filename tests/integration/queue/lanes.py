"""What the tests of the lanes share: events pushed as the API does it, and consumers."""

from collections.abc import Sequence
from datetime import UTC, datetime

from redis import Redis

from common.queue.lane_consumer import LaneConsumer
from common.queue.queued_bytes import count_on
from common.queue.streams import DEPTH_KEY, Record, encode_entry, entry_size, lane_of

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


def push(client: Redis, tenant: int, *ids: str) -> int:
    """Push an entry with one small event under each id; returns the bytes that it counts for."""
    return push_records(client, tenant, [Record(each, NOW, b"{}") for each in ids])


def push_records(client: Redis, tenant: int, records: Sequence[Record], stream: str | None = None) -> int:
    """Push an entry as the API does, into the tenant's lane unless told; returns the bytes that it counts for."""
    stream = stream or lane_of(tenant)
    fields = encode_entry(tenant, records)
    pipeline = client.pipeline(transaction=True)
    pipeline.xadd(stream, fields)
    pipeline.hincrby(DEPTH_KEY, stream, len(records))
    count_on(pipeline, {tenant: entry_size(fields)})
    pipeline.execute()
    return entry_size(fields)


def consumer(client: Redis, name: str) -> LaneConsumer:
    one = LaneConsumer(client, name)
    one.create_groups()
    return one
