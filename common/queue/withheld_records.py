"""Single records among the withheld events: those of one customer are found, and removed."""

from collections.abc import Callable, Iterator
from typing import Any, cast

from redis import Redis

from common.customers import customer_of
from common.queue.queued_bytes import BYTES_KEY, COUNT_OFF
from common.queue.streams import WITHHELD_KEY, Entry, Record, decode_entry, encode_entry
from common.queue.withheld import withheld_stream
from common.redis import translated_errors

_READ_ENTRIES = 16  # of 128 KiB each

# Put what is left of an entry in its place, unless it went back into the lane meanwhile.
# KEYS: withheld stream, withheld hash, bytes hash. ARGV: id, tenant, events removed, bytes freed, then the fields of
# what is left, if anything is.
_REPLACE = (
    COUNT_OFF
    + """
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
count_off(KEYS[3], ARGV[2], ARGV[4])
if #ARGV > 4 then redis.call('XADD', KEYS[1], '*', unpack(ARGV, 5)) end
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[1])
  redis.call('HDEL', KEYS[2], ARGV[2])
else
  redis.call('HINCRBY', KEYS[2], ARGV[2], -ARGV[3])
end
return tonumber(ARGV[3])
"""
)


class WithheldRecords:
    """The records of the withheld events. Every method raises `QueueUnavailableError` when Redis is away."""

    def __init__(self, client: Redis) -> None:
        self._redis = cast("Any", client)
        self._replace = self._redis.register_script(_REPLACE)

    def find(self, tenant_id: int, customer_id: str) -> Iterator[Record]:
        """Yield the withheld events of a customer; those on their way through a lane are not among them."""
        for entry, _ in self._entries(tenant_id):
            yield from (record for record in entry.records if customer_of(record.raw) == customer_id)

    def remove(self, tenant_id: int, is_unwanted: Callable[[Record], bool]) -> int:
        """Remove the records of a tenant that are unwanted; returns how many.

        What comes back into the lane meanwhile is left to those who store it.
        """
        removed = 0
        for entry, fields in self._entries(tenant_id):
            left = [record for record in entry.records if not is_unwanted(record)]
            if len(left) < len(entry.records):
                removed += self._put_back(entry, left, fields)
        return removed

    def _entries(self, tenant_id: int) -> Iterator[tuple[Entry, dict[bytes, bytes]]]:
        """What is withheld at the beginning; not what is added meanwhile."""
        stream = withheld_stream(tenant_id)
        with translated_errors():
            newest = self._redis.xrevrange(stream, count=1)
        if not newest:
            return
        start, end = "-", newest[0][0]
        while True:
            with translated_errors():
                found = self._redis.xrange(stream, start, end, count=_READ_ENTRIES)
            if not found:
                return
            for entry_id, fields in found:
                yield decode_entry(stream, entry_id, fields), fields
            start = f"({found[-1][0].decode()}"

    def _put_back(self, entry: Entry, left: list[Record], fields: dict[bytes, bytes]) -> int:
        kept: dict[bytes, bytes] = {}
        if left:
            kept = encode_entry(entry.tenant_id, left)
            # The reasons were counted for the entry as a whole, and are only shown.
            kept |= {
                b"bytes": b"%d" % min(int(kept[b"bytes"]), entry.size),
                b"reasons": fields[b"reasons"],
            }
        with translated_errors():
            return int(
                self._replace(
                    keys=[entry.lane, WITHHELD_KEY, BYTES_KEY],
                    args=[
                        entry.entry_id,
                        entry.tenant_id,
                        len(entry.records) - len(left),
                        entry.size - int(kept.get(b"bytes", 0)),
                        *(item for field in kept.items() for item in field),
                    ],
                )
            )
