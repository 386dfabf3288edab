"""Where a tenant's entries begin in the lanes, which it shares with others."""

import time
from typing import Any, cast

from redis import Redis

from common.queue.streams import busy_lane_of, lane_of
from common.redis import translated_errors

_READ_ENTRIES = 64  # of 128 KiB each: bounds how long Redis is busy with one call

# The first entry of a tenant among the next ones, otherwise the last of these, and whether it is the tenant's; nothing
# at the end. Entries that no worker can decode are nobody's. KEYS: stream. ARGV: start, end, count, tenant.
_LOOK = """
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
for _, entry in ipairs(entries) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'tenant' and entry[2][i + 1] == ARGV[4] then return {entry[1], 1} end
  end
end
if #entries == 0 then return {} end
return {entries[#entries][1], 0}
"""


class TenantEntries:
    """Looks for the oldest entries of tenants, and goes on where it stopped: entries are only ever added at the end."""

    def __init__(self, client: Redis) -> None:
        self._look = cast("Any", client).register_script(_LOOK)
        self._starts: dict[tuple[int, str], str] = {}

    def none_before(self, tenant_id: int, until: int, *, seconds: float) -> float:
        """A time before which the tenant has no entry in its lane, as far as `seconds` let it be found out.

        Infinity if it has none up to `until`. Both are in milliseconds of Redis's clock, as in the ids of entries.

        Raises:
            QueueUnavailableError: Redis is away.
        """
        deadline = time.monotonic() + seconds
        streams = (lane_of(tenant_id), busy_lane_of(tenant_id))
        return min(self._none_before(tenant_id, stream, until, deadline) for stream in streams)

    def _none_before(self, tenant_id: int, stream: str, until: int, deadline: float) -> float:
        start = self._starts.pop((tenant_id, stream), "-")
        while True:
            with translated_errors():
                found = self._look(keys=[stream], args=[start, until, _READ_ENTRIES, tenant_id])
            if not found:
                return float("inf")
            entry_id, is_theirs = found[0].decode(), found[1]
            start = entry_id if is_theirs else f"({entry_id}"
            if is_theirs or time.monotonic() > deadline:
                self._starts[tenant_id, stream] = start
                return float(entry_id.partition("-")[0])
