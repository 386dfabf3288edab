"""Events put into the lanes as the API would put them, so that a scenario can begin with a full queue."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from redis import Redis

from common.queue.queued_bytes import count_on
from common.queue.streams import DEPTH_KEY, Record, encode_entry, entry_size, lane_of
from suite.events import Event

_ENTRY_EVENTS = 128
_PUSH_ENTRIES = 100


def queue_events(
    redis: Redis,
    tenant_id: int,
    events: Sequence[Event],
    received_at: datetime,
    *,
    entry_events: int = _ENTRY_EVENTS,
) -> None:
    """Push `events` into the tenant's lane, in entries of `entry_events`, by default full ones.

    The entries were received one by one, a millisecond apart, from `received_at` on.
    """
    entries = [events[start : start + entry_events] for start in range(0, len(events), entry_events)]
    for start in range(0, len(entries), _PUSH_ENTRIES):
        pipeline: Any = redis.pipeline(transaction=True)
        size = count = 0
        for number, entry in enumerate(entries[start : start + _PUSH_ENTRIES], start):
            at = received_at + timedelta(milliseconds=number)
            fields = encode_entry(tenant_id, [Record(event.event_id, at, event.raw) for event in entry])
            pipeline.xadd(lane_of(tenant_id), fields)
            size += entry_size(fields)
            count += len(entry)
        pipeline.hincrby(DEPTH_KEY, lane_of(tenant_id), count)
        count_on(pipeline, {tenant_id: size})
        pipeline.execute()
