"""The ingest lanes: Redis Streams that carry raw events from the API to the workers.

A stream entry holds a *record batch*, up to a few hundred events of one tenant, so that queueing costs per push
and not per event. A tenant always uses the same lane; reading takes as many entries of each lane, which is what
keeps a busy tenant from delaying the tenants of other lanes.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

import msgspec
from redis import Redis
from redis.exceptions import ResponseError

from common.redis import translated_errors

LANES = tuple(f"sspp:ingest:{number}" for number in range(16))
DEPTH_KEY = "sspp:ingest:depth"
"""A hash: lane → events in its stream, counted in the same transactions that add and remove them."""

QUARANTINE_KEY = "sspp:ingest:quarantine"
"""A stream of entries that no worker can decode; nothing writes such entries, so each is worth a look."""

_GROUP = "workers"
_CLAIMED_AT_ONCE = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Acknowledge and remove entries; count down only what this very call removed, since two workers may both finish
# an entry that one took over from the other. KEYS: lane, depth hash. ARGV: group, lane, then id and size pairs.
_ACKNOWLEDGE = """
local gone = 0
for i = 3, #ARGV, 2 do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then gone = gone + tonumber(ARGV[i + 1]) end
end
if gone > 0 then redis.call('HINCRBY', KEYS[2], ARGV[2], -gone) end
return gone
"""

# Take over entries of a consumer, but only those that are still its own: of two rescuers that saw the same dead
# consumer, the second finds what the first left. KEYS: lane. ARGV: group, dead consumer, new consumer, count.
_CLAIM = """
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[4], ARGV[2])
if #pending == 0 then return {} end
local ids = {}
for i, item in ipairs(pending) do ids[i] = item[1] end
return redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, unpack(ids))
"""

# Forget a consumer unless entries are pending under its name: those would be lost to everyone.
_FORGET = """
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #pending == 0 then return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
return -1
"""


class Record(NamedTuple):
    """One raw event on its way: its id, the instant that the API stamped, and its JSON text as received."""

    event_id: str
    received_at: datetime
    raw: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One record batch as read from a lane."""

    lane: str
    entry_id: bytes
    tenant_id: int
    records: tuple[Record, ...]


def lane_of(tenant_id: int) -> str:
    """The lane of a tenant; tenant ids are consecutive, so this spreads them evenly."""
    return LANES[tenant_id % len(LANES)]


def encode_entry(tenant_id: int, records: Iterable[Record]) -> dict[bytes, bytes]:
    """The fields of a stream entry that carries `records`: MessagePack, as compact as it is portable."""
    payload = [(record.event_id, _microseconds(record.received_at), record.raw) for record in records]
    return {b"tenant": b"%d" % tenant_id, b"events": b"%d" % len(payload), b"records": _encode(payload)}


def decode_entry(lane: str, entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """The inverse of `encode_entry`.

    Raises:
        msgspec.DecodeError, KeyError, ValueError: the entry is none of ours.
    """
    records = tuple(
        Record(event_id, _EPOCH + _MICROSECOND * received, raw)
        for event_id, received, raw in _decode(fields[b"records"])
    )
    return Entry(lane, entry_id, int(fields[b"tenant"]), records)


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, int, bytes]]).decode


class LaneConsumer:
    """One drain's reader of all lanes, under a name of its own in the consumer group.

    What `read` returns stays pending under that name until `acknowledge`; when its drain is gone, others take it
    over with `claim_orphans`. Every method raises `QueueUnavailableError` when Redis is away.
    """

    def __init__(self, client: Redis, name: str) -> None:
        self._redis = cast("Any", client)
        self.name = name
        self._acknowledge = self._redis.register_script(_ACKNOWLEDGE)
        self._claim = self._redis.register_script(_CLAIM)
        self._forget = self._redis.register_script(_FORGET)
        self._reply_was_lost = False

    def create_groups(self) -> None:
        """Create the streams and their consumer group where they do not exist yet."""
        with translated_errors():
            pipeline = self._redis.pipeline(transaction=False)
            for lane in LANES:
                pipeline.xgroup_create(lane, _GROUP, id="0", mkstream=True)
            for outcome in pipeline.execute(raise_on_error=False):
                if isinstance(outcome, ResponseError) and "BUSYGROUP" in str(outcome):
                    continue
                if isinstance(outcome, Exception):
                    raise outcome

    def read(self, count: int, wait_seconds: float) -> list[Entry]:
        """Take up to `count` new entries of each lane; wait up to `wait_seconds` while there are none.

        Call it when everything read before is acknowledged: if the connection broke while entries were being
        handed over, they lie under this consumer's name unseen, and the next read brings those first.
        """
        entries: list[Entry] = []
        with translated_errors():
            if self._reply_was_lost:
                entries = self._read("0", count, wait_seconds)
            if not entries:
                self._reply_was_lost = True  # until the answer is here
                entries = self._read(">", count, wait_seconds)
                self._reply_was_lost = False
        return entries

    def _read(self, start: str, count: int, wait_seconds: float) -> list[Entry]:
        try:
            answer = self._redis.xreadgroup(
                _GROUP,
                self.name,
                dict.fromkeys(LANES, start),
                count=count,
                block=max(1, int(wait_seconds * 1000)),  # 0 would wait for ever
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self.create_groups()  # Redis was emptied under us
            return []
        return [entry for lane, found in answer or [] for entry in self._decoded(lane.decode(), found)]

    def acknowledge(self, entries: Collection[Entry]) -> None:
        """Remove stored entries for good. Doing so twice is harmless."""
        by_lane: dict[str, list[bytes | int]] = {}
        for entry in entries:
            by_lane.setdefault(entry.lane, []).extend((entry.entry_id, len(entry.records)))
        with translated_errors():
            for lane, sizes in by_lane.items():
                self._acknowledge(keys=[lane, DEPTH_KEY], args=[_GROUP, lane, *sizes])

    def claim_orphans(self, live: Collection[str], most_events: int) -> list[Entry]:
        """Take over entries from consumers whose names are not among `live`: about `most_events` events."""
        claimed: list[Entry] = []
        events = 0
        with translated_errors():
            for lane, consumer in self._orphaned(live):
                while events < most_events:
                    keys, args = [lane], [_GROUP, consumer, self.name, _CLAIMED_AT_ONCE]
                    found = self._claim(keys=keys, args=args)
                    entries = self._decoded(lane, [(entry_id, _fields(flat)) for entry_id, flat in found])
                    if not found:
                        self._forget(keys=[lane], args=[_GROUP, consumer])
                        break
                    claimed.extend(entries)
                    events += sum(len(entry.records) for entry in entries)
        return claimed

    def leave(self) -> None:
        """Take this consumer's name out of the group, except where entries are still pending under it."""
        with translated_errors():
            for lane in LANES:
                self._forget(keys=[lane], args=[_GROUP, self.name])

    def _orphaned(self, live: Collection[str]) -> list[tuple[str, bytes]]:
        pipeline = self._redis.pipeline(transaction=False)
        for lane in LANES:
            pipeline.xinfo_consumers(lane, _GROUP)
        answers = pipeline.execute(raise_on_error=False)
        if any(isinstance(answer, ResponseError) for answer in answers):
            self.create_groups()  # Redis was emptied under us, so nobody left anything
            return []
        names = {*live, self.name}
        return [
            (lane, consumer["name"])
            for lane, consumers in zip(LANES, answers, strict=True)
            for consumer in consumers
            if consumer["name"].decode() not in names
        ]

    def _decoded(self, lane: str, entries: Sequence[tuple[bytes, dict[bytes, bytes] | None]]) -> list[Entry]:
        decoded = []
        for entry_id, fields in entries:
            if fields is None:  # deleted by its first owner in the meantime
                self._acknowledge(keys=[lane, DEPTH_KEY], args=[_GROUP, lane, entry_id, 0])
                continue
            try:
                decoded.append(decode_entry(lane, entry_id, fields))
            except (msgspec.DecodeError, KeyError, ValueError):
                self._redis.xadd(QUARANTINE_KEY, {**fields, b"lane": lane, b"entry_id": entry_id})
                self._acknowledge(keys=[lane, DEPTH_KEY], args=[_GROUP, lane, entry_id, 0])
        return decoded


def _fields(flat: Sequence[bytes] | None) -> dict[bytes, bytes] | None:
    """The fields of an entry as a script answers them: names and values in turn."""
    return None if flat is None else dict(zip(flat[::2], flat[1::2], strict=True))


def depth(client: Redis) -> dict[str, int]:
    """Events waiting or in work, by lane; lanes without any are left out.

    Each entry counts for at least one event and an empty stream for none, whatever the counters say: should
    someone trim or delete a lane by hand, the drains still know when there is work and when there is none.
    """
    with translated_errors():
        pipeline = cast("Any", client).pipeline(transaction=True)
        pipeline.hgetall(DEPTH_KEY)
        for lane in LANES:
            pipeline.xlen(lane)
        counts, *entries = pipeline.execute()
    events = {lane: int(counts.get(lane.encode(), 0)) for lane in LANES}
    return {
        lane: max(events[lane], length) for lane, length in zip(LANES, entries, strict=True) if length > 0
    }


def oldest_ages(client: Redis) -> dict[str, float]:
    """Seconds that the oldest entry of each lane has waited, by Redis's own clock; 0 for an empty lane."""
    with translated_errors():
        pipeline = cast("Any", client).pipeline(transaction=False)
        pipeline.time()
        for lane in LANES:
            pipeline.xrange(lane, count=1)
        (seconds, microseconds), *heads = pipeline.execute()
    now = seconds + microseconds / 1e6
    return {
        lane: max(0.0, now - int(head[0][0].split(b"-")[0]) / 1000) if head else 0.0
        for lane, head in zip(LANES, heads, strict=True)
    }
