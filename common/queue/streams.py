"""The ingest lanes: Redis Streams that carry raw events from the API to the workers.

A stream entry holds a *record batch*, up to a few hundred events of one tenant, so that queueing costs per push
and not per event. A tenant always uses the same lane; reading takes as many entries of each lane, which is what
keeps a busy tenant from delaying the tenants of other lanes. A lane is two streams: what a tenant has waiting beyond
its share goes into the second, the busy one, so that the tenants of the same lane wait behind that share at most.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

import msgspec
from redis import Redis

from common.redis import translated_errors
from common.tracing.contexts import pack_contexts

LANES = tuple(f"sspp:ingest:{number}" for number in range(16))
BUSY_LANES = tuple(f"{lane}:busy" for lane in LANES)
STREAMS = (*LANES, *BUSY_LANES)
"""All streams of the queue, in the order in which what was read of them is stored."""

DEPTH_KEY = "sspp:ingest:depth"
"""A hash: stream → events in it, counted in the same transactions that add and remove them.

`common.queue.queued_bytes` counts the bytes by the same rules, by tenant."""

WITHHELD_KEY = "sspp:ingest:withheld"
"""A hash: tenant → events that were moved out of its lane for the time being, see `common.queue.withheld`."""

QUARANTINE_KEY = "sspp:ingest:quarantine"
"""A stream of entries that no worker can decode; nothing writes such entries, so each is worth a look."""

_BUSY = frozenset(BUSY_LANES)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Record(NamedTuple):
    """One raw event on its way: its id, the instant that the API stamped, and its JSON text as received."""

    event_id: str
    received_at: datetime
    raw: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One record batch as read from a lane."""

    lane: str
    """The stream that it lies in."""
    entry_id: bytes
    tenant_id: int
    records: tuple[Record, ...]
    size: int = 0
    """The bytes that it counts for in the queue, as its pusher counted them; see `common.queue.queued_bytes`."""
    withheld: bool = False
    """Whether it comes back from among the withheld events, see `common.queue.withheld`."""
    traces: bytes = b""
    """The contexts of the sampled traces that its events are part of, see `common.tracing.contexts`."""

    @property
    def is_busy(self) -> bool:
        """Whether it is part of what its tenant has waiting beyond its share."""
        return self.lane in _BUSY

    @property
    def bytes_held(self) -> int:
        """The bytes of its events in this process's memory."""
        return sum(len(record.raw) for record in self.records)


def lane_of(tenant_id: int) -> str:
    """The lane of a tenant; tenant ids are consecutive, so this spreads them evenly."""
    return LANES[tenant_id % len(LANES)]


def busy_lane_of(tenant_id: int) -> str:
    """The second stream of a tenant's lane."""
    return BUSY_LANES[tenant_id % len(LANES)]


def encode_entry(
    tenant_id: int, records: Iterable[Record], contexts: Iterable[str] = ()
) -> dict[bytes, bytes]:
    """The fields of a stream entry that carries `records`: MessagePack, as compact as it is portable.

    `contexts` are those of the sampled traces that they are part of. They lie in a field of their own, which is there
    only if there are any, and which workers that do not know of it do not look at.

    Whoever adds the entry to a lane counts on what `entry_size` says.
    """
    payload = [(record.event_id, _microseconds(record.received_at), record.raw) for record in records]
    packed = _encode(payload)
    traces = pack_contexts(contexts) if contexts else b""
    fields = {
        b"tenant": b"%d" % tenant_id,
        b"events": b"%d" % len(payload),
        b"bytes": b"%d" % (len(packed) + len(traces)),
        b"records": packed,
    }
    if traces:
        fields[b"traces"] = traces
    return fields


def entry_size(fields: dict[bytes, bytes]) -> int:
    """The bytes that an entry counts for; 0 if it comes from a release that did not count."""
    return int(fields.get(b"bytes", 0))


def decode_entry(lane: str, entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """The inverse of `encode_entry`.

    Raises:
        msgspec.DecodeError, KeyError, ValueError: the entry is none of ours.
    """
    records = tuple(
        Record(event_id, _EPOCH + _MICROSECOND * received, raw)
        for event_id, received, raw in _decode(fields[b"records"])
    )
    withheld = b"withheld" in fields
    tenant_id, traces = int(fields[b"tenant"]), fields.get(b"traces", b"")
    return Entry(lane, entry_id, tenant_id, records, entry_size(fields), withheld, traces)


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, int, bytes]]).decode


def depth(client: Redis) -> dict[str, int]:
    """Events waiting or in work, by lane, in both of its streams; lanes without any are left out.

    Each entry counts for at least one event and an empty stream for none, whatever the counters say: should
    someone trim or delete a lane by hand, the drains still know when there is work and when there is none.
    """
    with translated_errors():
        pipeline = cast("Any", client).pipeline(transaction=True)
        pipeline.hgetall(DEPTH_KEY)
        for stream in STREAMS:
            pipeline.xlen(stream)
        counts, *entries = pipeline.execute()
    events: Counter[str] = Counter()
    for lane, stream, length in zip(LANES * 2, STREAMS, entries, strict=True):
        if length > 0:
            events[lane] += max(int(counts.get(stream.encode(), 0)), length)
    return dict(events)


def oldest_ages(client: Redis) -> dict[str, float]:
    """Seconds that the oldest entry of each lane has waited, by Redis's own clock; 0 for an empty lane."""
    with translated_errors():
        pipeline = cast("Any", client).pipeline(transaction=False)
        pipeline.time()
        for stream in STREAMS:
            pipeline.xrange(stream, count=1)
        (seconds, microseconds), *heads = pipeline.execute()
    now = seconds + microseconds / 1e6
    ages = dict.fromkeys(LANES, 0.0)
    for lane, head in zip(LANES * 2, heads, strict=True):
        if head:
            ages[lane] = max(ages[lane], now - int(head[0][0].split(b"-")[0]) / 1000)
    return ages
