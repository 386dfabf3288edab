"""Events put into the lanes as the API would put them, so that a scenario can begin with a full queue."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from redis import Redis

from common.queue.queued_bytes import count_on
from common.queue.streams import DEPTH_KEY, Record, encode_entry, entry_size, lane_of
from suite.events import Event

_ENTRY_EVENTS = 128
_PUSH_ENTRIES = 100


def queue_events(redis: Redis, tenant_id: int, events: Sequence[Event], received_at: datetime) -> None:
    """Push `events` into the tenant's lane, in full entries."""
    entries = [events[start : start + _ENTRY_EVENTS] for start in range(0, len(events), _ENTRY_EVENTS)]
    for start in range(0, len(entries), _PUSH_ENTRIES):
        pipeline: Any = redis.pipeline(transaction=True)
        size = count = 0
        for entry in entries[start : start + _PUSH_ENTRIES]:
            fields = encode_entry(
                tenant_id, [Record(event.event_id, received_at, event.raw) for event in entry]
            )
            pipeline.xadd(lane_of(tenant_id), fields)
            size += entry_size(fields)
            count += len(entry)
        pipeline.hincrby(DEPTH_KEY, lane_of(tenant_id), count)
        count_on(pipeline, {tenant_id: size})
        pipeline.execute()
