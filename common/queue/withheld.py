"""Refusals that wait for a decision: events that the dead-letter guard keeps from being refused.

Each tenant's lie in a stream of their own, as entries like those of the lanes. They are durable as those are, and go
on counting for their tenant's share of the queue. From time to time some are brought back into the lane; what is
valid by then is stored, what is not is withheld anew, at the end of the stream. So each gets its turn, and the
lanes flow meanwhile. Only when an operator *releases* a tenant's refusals are they made.

Every move is one script: an entry lies in one stream or in the other, whatever dies in between.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

import msgspec
from redis import Redis

from common.queue.lane_consumer import GROUP
from common.queue.queued_bytes import BYTES_KEY, COUNT_OFF
from common.queue.streams import DEPTH_KEY, WITHHELD_KEY, Entry, Record, busy_lane_of, encode_entry
from common.redis import translated_errors

RETURNED_AT_ONCE = 5000
"""Events that come back at a time: a second's work, which lets the lane's other tenants pass."""

_ENTRIES_OF_A_SCRIPT = 64  # of 128 KiB each: bounds how long Redis is busy with one
_SAMPLED_ENTRIES = 100

# Acknowledge and remove an entry, and keep its withheld part. Of two workers that both finish it only the one that
# removes it does so. The removal goes first: Redis checks only a script's first write against its memory limit.
# KEYS: lane, depth hash, bytes hash, withheld hash, withheld stream. ARGV: group, lane, id, events in the entry,
# tenant, bytes that are freed, events withheld, then the new entry's fields.
_WITHHOLD = (
    COUNT_OFF
    + """
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
if redis.call('XDEL', KEYS[1], ARGV[3]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[2], ARGV[2], -ARGV[4])
count_off(KEYS[3], ARGV[5], ARGV[6])
redis.call('XADD', KEYS[5], '*', unpack(ARGV, 8))
redis.call('HINCRBY', KEYS[4], ARGV[5], ARGV[7])
return tonumber(ARGV[7])
"""
)

# Move the oldest entries back into the lane. KEYS: withheld stream, withheld hash, lane, depth hash.
# ARGV: tenant, lane, most events, most entries.
_BRING_BACK = """
local moved = 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[4])) do
  if moved >= tonumber(ARGV[3]) then break end
  local fields, events = {}, 0
  for i = 1, #entry[2], 2 do
    local name, value = entry[2][i], entry[2][i + 1]
    if name ~= 'reasons' then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
    if name == 'events' then events = tonumber(value) end
  end
  redis.call('XDEL', KEYS[1], entry[1])
  redis.call('XADD', KEYS[3], '*', 'withheld', '1', unpack(fields))
  redis.call('HINCRBY', KEYS[4], ARGV[2], events)
  moved = moved + events
end
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
elseif moved > 0 then
  redis.call('HINCRBY', KEYS[2], ARGV[1], -moved)
end
return moved
"""

# The reasons of a stream's oldest entries, and nothing of the events. KEYS: withheld stream. ARGV: count.
_SAMPLE = """
local reasons = {}
for i, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])) do
  for j = 1, #entry[2], 2 do
    if entry[2][j] == 'reasons' then reasons[i] = entry[2][j + 1] end
  end
end
return reasons
"""


class Reason(NamedTuple):
    """Why an event would have been refused, and what it says to be; empty if it does not say."""

    code: str
    event_type: str


@dataclass(frozen=True, slots=True)
class WithheldPart:
    """The records of an entry that are withheld, with the reason of each."""

    entry: Entry
    records: Sequence[Record]
    reasons: Sequence[Reason]


@dataclass(frozen=True, slots=True)
class WithheldSummary:
    """What is withheld of a tenant.

    `oldest_received_at` and `reasons`, the most frequent first, are those of a sample, the 100 entries that have
    waited longest for their next turn. `released_until` is the instant until which refusals are made all the same.
    """

    events: int
    oldest_received_at: datetime | None
    reasons: Sequence[tuple[Reason, int]]
    released_until: datetime | None


class _Reasons(msgspec.Struct, array_like=True):
    """The field ``reasons`` of an entry, as JSON."""

    oldest_received_at: datetime
    counts: list[tuple[str, str, int]]


class WithheldEvents:
    """The withheld events of all tenants. Every method raises `QueueUnavailableError` when Redis is away."""

    def __init__(self, client: Redis) -> None:
        self._redis = cast("Any", client)
        self._withhold = self._redis.register_script(_WITHHOLD)
        self._bring_back = self._redis.register_script(_BRING_BACK)
        self._sample = self._redis.register_script(_SAMPLE)

    def withhold(self, parts: Iterable[WithheldPart]) -> int:
        """Acknowledge the entries of `parts`, whose other records are settled, and keep the parts.

        Returns how many events that were. Doing so again, here or in another worker, does nothing.
        """
        with translated_errors():
            pipeline = self._redis.pipeline(transaction=False)
            for part in parts:
                entry = part.entry
                fields = encode_entry(entry.tenant_id, part.records)
                # An entry that counted for nothing, see `common.queue.queued_bytes`, does so as a part too.
                size = min(int(fields[b"bytes"]), entry.size)
                fields |= {b"bytes": b"%d" % size, b"reasons": _encoded_reasons(part)}
                flat = [item for field in fields.items() for item in field]
                self._withhold(
                    keys=[entry.lane, DEPTH_KEY, BYTES_KEY, WITHHELD_KEY, withheld_stream(entry.tenant_id)],
                    args=[
                        GROUP,
                        entry.lane,
                        entry.entry_id,
                        len(entry.records),
                        entry.tenant_id,
                        entry.size - size,
                        len(part.records),
                        *flat,
                    ],
                    client=pipeline,
                )
            return sum(pipeline.execute())

    def bring_back(self, tenant_id: int, most_events: int = RETURNED_AT_ONCE) -> int:
        """Move a tenant's longest waiting events back into its lane, into the busy stream; returns how many.

        They are about `most_events`, as entries move whole. Whoever moves some also wakes the ingest stage.
        """
        lane = busy_lane_of(tenant_id)
        moved = 0
        with translated_errors():
            while moved < most_events:
                found = self._bring_back(
                    keys=[withheld_stream(tenant_id), WITHHELD_KEY, lane, DEPTH_KEY],
                    args=[tenant_id, lane, most_events - moved, _ENTRIES_OF_A_SCRIPT],
                )
                if not found:
                    break
                moved += found
        return moved

    def bring_some_back(self) -> int:
        """As `bring_back` for every tenant that has withheld events, each in equal measure."""
        waiting = self.events()
        share = max(1, RETURNED_AT_ONCE // max(1, len(waiting)))
        return sum(self.bring_back(tenant_id, share) for tenant_id in waiting)

    def events(self) -> Mapping[int, int]:
        """How many events are withheld, by tenant; those on their way through a lane are not among them."""
        with translated_errors():
            return {int(tenant): int(events) for tenant, events in self._redis.hgetall(WITHHELD_KEY).items()}

    def release(self, tenant_id: int, duration: timedelta) -> int:
        """Let the tenant's refusals be made for that long, and begin to bring the withheld ones back.

        Returns how many are withheld. The workers bring back the rest as they get through.
        """
        with translated_errors():
            self._redis.set(_release_key(tenant_id), 1, px=duration)
        withheld = self.events().get(tenant_id, 0)
        self.bring_back(tenant_id)
        return withheld

    def released(self, tenant_ids: Collection[int]) -> set[int]:
        """Those of `tenant_ids` whose refusals are to be made."""
        if not tenant_ids:
            return set()
        ordered = sorted(tenant_ids)
        with translated_errors():
            marks = self._redis.mget([_release_key(tenant_id) for tenant_id in ordered])
        return {tenant_id for tenant_id, mark in zip(ordered, marks, strict=True) if mark is not None}

    def summary(self, tenant_id: int) -> WithheldSummary:
        """What is withheld of a tenant, and why."""
        with translated_errors():
            events = int(self._redis.hget(WITHHELD_KEY, str(tenant_id)) or 0)
            released_until = self._redis.pexpiretime(_release_key(tenant_id))
            sample = self._sample(keys=[withheld_stream(tenant_id)], args=[_SAMPLED_ENTRIES])
        counts: Counter[Reason] = Counter()
        oldest: datetime | None = None
        for encoded in sample:
            entry = _decode_reasons(encoded)
            oldest = min(oldest or entry.oldest_received_at, entry.oldest_received_at)
            for code, event_type, count in entry.counts:
                counts[Reason(code, event_type)] += count
        return WithheldSummary(
            events,
            oldest,
            counts.most_common(),
            datetime.fromtimestamp(released_until / 1000, UTC) if released_until > 0 else None,
        )


_encode = msgspec.json.Encoder().encode
_decode_reasons = msgspec.json.Decoder(_Reasons).decode


def _encoded_reasons(part: WithheldPart) -> bytes:
    counts = [(*reason, count) for reason, count in Counter(part.reasons).most_common()]
    return _encode(_Reasons(min(record.received_at for record in part.records), counts))


def withheld_stream(tenant_id: int) -> str:
    """The stream with a tenant's withheld events."""
    return f"{WITHHELD_KEY}:{tenant_id}"


def _release_key(tenant_id: int) -> str:
    return f"sspp:ingest:released:{tenant_id}"
