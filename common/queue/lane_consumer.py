"""Taking entries from the lanes, acknowledging them, and taking over what the dead had taken."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, cast

import msgspec
from redis import Redis
from redis.exceptions import ResponseError

from common.queue.queued_bytes import BYTES_KEY, COUNT_OFF
from common.queue.streams import DEPTH_KEY, QUARANTINE_KEY, STREAMS, Entry, decode_entry
from common.queue.suspects import CLAIM, CLAIM_SUSPECT, LEAVE, Suspect
from common.redis import translated_errors

MOST_BYTES_HELD = 32 * 1024 * 1024
"""How many bytes of entries a consumer takes at a time, at most."""

# An entry holds a single event of any size, or several that are at most 128 KiB together; with ids and instants.
_SEVERAL_EVENTS_BYTES = 128 * 1024
_ENTRY_FRAME_BYTES = 32 * 1024

GROUP = "workers"
_CLAIMED_AT_ONCE = 16

# Acknowledge and remove entries; count down only what this very call removed, since two workers may both finish
# an entry that one took over from the other. KEYS: lane, depth hash, bytes hash. ARGV: group, lane, then of each
# entry its id, events, tenant and bytes.
_ACKNOWLEDGE = (
    COUNT_OFF
    + """
local gone = 0
for i = 3, #ARGV, 4 do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    gone = gone + tonumber(ARGV[i + 1])
    count_off(KEYS[3], ARGV[i + 2], ARGV[i + 3])
  end
end
if gone > 0 then redis.call('HINCRBY', KEYS[2], ARGV[2], -gone) end
return gone
"""
)

# Forget a consumer unless entries are pending under its name: those would be lost to everyone.
_FORGET = """
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #pending == 0 then return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
return -1
"""


class LaneConsumer:
    """One drain's reader of all lanes, under a name of its own in the consumer group.

    What `read` returns stays pending under that name until `acknowledge`; when its drain is gone, others take it
    over with `claim_orphans`, and with `claim_suspect` what may be the cause of deaths. Every method raises
    `QueueUnavailableError` when Redis is away.

    Args:
        client: Redis.
        name: unique to this consumer, and known to those who tell the dead from the living.
        max_event_bytes: the size that no event exceeds. How much may be asked for at once follows from it, as
            nobody knows what is coming.
    """

    def __init__(self, client: Redis, name: str, *, max_event_bytes: int = 256 * 1024) -> None:
        self._redis = cast("Any", client)
        self.name = name
        self._largest_entry = max(max_event_bytes, _SEVERAL_EVENTS_BYTES) + _ENTRY_FRAME_BYTES
        self._acknowledge = self._redis.register_script(_ACKNOWLEDGE)
        self._claim = self._redis.register_script(CLAIM)
        self._claim_suspect = self._redis.register_script(CLAIM_SUSPECT)
        self._forget = self._redis.register_script(_FORGET)
        self._leave = self._redis.register_script(LEAVE)
        self.reply_was_lost = False
        """Whether entries may lie under this consumer's name that it has not seen; the next `read` brings them."""
        self._suspected: list[tuple[str, bytes]] = []  # the lanes and consumers that have suspects due
        self.pausing_events = 0
        """Events in suspects that nobody may claim yet, as the last `claim_orphans` saw it."""

    def create_groups(self) -> None:
        """Create the streams and their consumer group where they do not exist yet."""
        with translated_errors():
            pipeline = self._redis.pipeline(transaction=False)
            for stream in STREAMS:
                pipeline.xgroup_create(stream, GROUP, id="0", mkstream=True)
            for outcome in pipeline.execute(raise_on_error=False):
                if isinstance(outcome, ResponseError) and "BUSYGROUP" in str(outcome):
                    continue
                if isinstance(outcome, Exception):
                    raise outcome

    def read(
        self,
        count: int,
        wait_seconds: float | None,
        *,
        most_bytes: int = MOST_BYTES_HELD,
        streams: Sequence[str] = STREAMS,
    ) -> list[Entry]:
        """Take up to `count` new entries of each of `streams`; wait up to `wait_seconds` while there are none.

        If the connection broke while entries were being handed over, they lie under this consumer's name unseen: the
        next read brings those first, and with them, again, all that is not acknowledged. So while `reply_was_lost`,
        call it with empty hands. Otherwise it may be called while what was read before is still in work.

        Args:
            count: how many entries of each stream.
            wait_seconds: how long to wait for the first; None not at all, where 0 is a millisecond.
            most_bytes: how many bytes of entries to take, at most; one entry of each stream is taken in any case.
            streams: which; all of them while `reply_was_lost`.
        """
        entries: list[Entry] = []
        with translated_errors():
            if self.reply_was_lost:
                helping = min(count, max(1, self._sure_to_fit(most_bytes, STREAMS)))
                entries = self._take(STREAMS, "0", helping, wait_seconds)
            if not entries:
                self.reply_was_lost = True  # until all answers are here
                entries = self._take_new(streams, count, wait_seconds, most_bytes)
                self.reply_was_lost = False
        return entries

    def _sure_to_fit(self, size: int, streams: Sequence[str]) -> int:
        return size // (self._largest_entry * len(streams))

    def _take_new(
        self, streams: Sequence[str], count: int, wait_seconds: float | None, most_bytes: int
    ) -> list[Entry]:
        """Take in helpings of which each is sure to fit into what is left of `most_bytes`."""
        entries: list[Entry] = []
        size = taken = 0
        while streams and taken < count:
            helping = min(count - taken, self._sure_to_fit(most_bytes - size, streams))
            if helping < 1 and entries:
                break
            helping = max(helping, 1)
            found = self._take(streams, ">", helping, None if entries else wait_seconds)
            entries += found
            size += sum(entry.bytes_held for entry in found)
            taken += helping
            # Only these can have more.
            of_stream = Counter(entry.lane for entry in found)
            streams = [stream for stream in streams if of_stream[stream] >= helping]
        return entries

    def _take(
        self, streams: Sequence[str], start: str, count: int, wait_seconds: float | None
    ) -> list[Entry]:
        try:
            answer = self._redis.xreadgroup(
                GROUP,
                self.name,
                dict.fromkeys(streams, start),
                count=count,
                # 0 would wait for ever
                block=None if wait_seconds is None else max(1, int(wait_seconds * 1000)),
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
            by_lane.setdefault(entry.lane, []).extend(
                (entry.entry_id, len(entry.records), entry.tenant_id, entry.size)
            )
        with translated_errors():
            for lane, removals in by_lane.items():
                self._remove(lane, *removals)

    def _remove(self, lane: str, *removals: bytes | int) -> None:
        """Acknowledge and remove entries of a lane: of each its id, events, tenant and bytes."""
        self._acknowledge(keys=[lane, DEPTH_KEY, BYTES_KEY], args=[GROUP, lane, *removals])

    def claim_orphans(
        self, live: Collection[str], most_events: int, *, most_bytes: int = MOST_BYTES_HELD
    ) -> list[Entry]:
        """Take over entries, suspects left aside, from consumers whose names are not among `live`.

        It stops when it has `most_events` events or `most_bytes` bytes, which the last 16 entries may exceed. If the
        connection breaks meanwhile, the next `read` brings what was taken over so far.
        """
        claimed: list[Entry] = []
        events = size = 0
        self._suspected, self.pausing_events = [], 0
        a_reply_was_lost, self.reply_was_lost = self.reply_was_lost, True  # until all answers are here
        with translated_errors():
            for lane, consumer in self._orphaned(live):
                while events < most_events and size < most_bytes:
                    keys, args = [lane], [GROUP, consumer, self.name, _CLAIMED_AT_ONCE]
                    found, due, pausing_events = self._claim(keys=keys, args=args)
                    entries = self._decoded_flat(lane, found)
                    if not found:
                        self.pausing_events += pausing_events
                        if due:
                            self._suspected.append((lane, consumer))
                        self._forget(keys=[lane], args=[GROUP, consumer])
                        break
                    claimed.extend(entries)
                    events += sum(len(entry.records) for entry in entries)
                    size += sum(entry.bytes_held for entry in entries)
        self.reply_was_lost = a_reply_was_lost
        return claimed

    def claim_suspect(self) -> Suspect | None:
        """Take over one suspect that the last `claim_orphans` left aside and whose pause is over, if there is any.

        Call it with empty hands, and store it before anything else is taken: what is in hand dies with it.
        """
        a_reply_was_lost, self.reply_was_lost = self.reply_was_lost, True  # until the answer is here
        suspect = None
        with translated_errors():
            for lane, consumer in self._suspected:
                found, deliveries = self._claim_suspect(keys=[lane], args=[GROUP, consumer, self.name])
                if entries := self._decoded_flat(lane, found):
                    suspect = Suspect(entries[0], deliveries)
                    break
        self.reply_was_lost = a_reply_was_lost
        return suspect

    def leave(self) -> None:
        """Take this consumer's name out of the group, except where entries are still pending under it."""
        with translated_errors():
            for stream in STREAMS:
                self._leave(keys=[stream], args=[GROUP, self.name])

    def _orphaned(self, live: Collection[str]) -> list[tuple[str, bytes]]:
        pipeline = self._redis.pipeline(transaction=False)
        for stream in STREAMS:
            pipeline.xinfo_consumers(stream, GROUP)
        answers = pipeline.execute(raise_on_error=False)
        if any(isinstance(answer, ResponseError) for answer in answers):
            self.create_groups()  # Redis was emptied under us, so nobody left anything
            return []
        names = {*live, self.name}
        return [
            (stream, consumer["name"])
            for stream, consumers in zip(STREAMS, answers, strict=True)
            for consumer in consumers
            if consumer["name"].decode() not in names
        ]

    def _decoded_flat(self, lane: str, found: Sequence[tuple[bytes, Sequence[bytes] | None]]) -> list[Entry]:
        """Entries as a script answers them: the names and values of their fields in turn."""
        return self._decoded(
            lane,
            [
                (entry_id, None if flat is None else dict(zip(flat[::2], flat[1::2], strict=True)))
                for entry_id, flat in found
            ],
        )

    def _decoded(self, lane: str, entries: Sequence[tuple[bytes, dict[bytes, bytes] | None]]) -> list[Entry]:
        decoded = []
        for entry_id, fields in entries:
            if fields is None:  # deleted by its first owner in the meantime
                self._remove(lane, entry_id, 0, 0, 0)
                continue
            try:
                decoded.append(decode_entry(lane, entry_id, fields))
            except (msgspec.DecodeError, KeyError, ValueError):
                # What it was counted for nobody knows; both counts are corrected once the lane is empty.
                self._redis.xadd(QUARANTINE_KEY, {**fields, b"lane": lane, b"entry_id": entry_id})
                self._remove(lane, entry_id, 0, 0, 0)
        return decoded
