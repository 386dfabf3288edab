"""How many bytes wait in the queue, of each tenant and in all: what the API admits by.

A hash in Redis holds the payload bytes of every entry that a tenant has in the queue, taken but not acknowledged
ones included, under the tenant's id; their sum as ``total``; and as ``drained`` what ever left it. The rules that
keep it right through crashes, repetition and take-over:

- An entry says itself what it counts for, in its field ``bytes``. So it is counted off as it was counted on, and
  an entry of a release that did not count yet is worth nothing both times.
- Counting happens within the transaction or script that adds or removes the entry, and only for what that very
  call removed. Moving an entry to another stream of the queue, such as the withheld ones, counts nothing: it goes
  on counting for its tenant until it leaves for good.
- No count falls below zero. What is counted for a tenant whose lane is empty, after somebody removed a stream by
  hand for instance, is dropped at the next measurement.

A script that removes entries begins with `COUNT_OFF` and calls its function for each.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from redis.asyncio import Redis

from common.redis import translated_errors

BYTES_KEY = "sspp:ingest:bytes"
"""The hash: tenant id, ``total`` or ``drained`` → bytes."""

COUNT_OFF = """
local function count_off(bytes_key, tenant, size)
  size = tonumber(size)
  if size <= 0 then return end
  redis.call('HINCRBY', bytes_key, 'drained', size)
  for _, field in ipairs({tenant, 'total'}) do
    local held = tonumber(redis.call('HGET', bytes_key, field) or 0)
    if held > size then
      redis.call('HINCRBY', bytes_key, field, -size)
    else
      redis.call('HDEL', bytes_key, field)
    end
  end
end
"""
"""Lua: ``count_off(bytes_key, tenant, size)`` takes an entry's bytes off. Call it after the script's first write:
Redis checks only that one against its memory limit, and what frees memory must pass at the limit too."""

# Answer the hash, for each stream the milliseconds that its oldest entry has waited, -1 for an empty one, and the
# tenants with withheld events.
# KEYS: hash, hash of the withheld events, lanes in order, their busy streams in the same order.
_MEASURE = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local ages, lanes = {}, (#KEYS - 2) / 2
for stream = 1, 2 * lanes do
  local oldest = redis.call('XRANGE', KEYS[stream + 2], '-', '+', 'COUNT', 1)[1]
  ages[stream] = oldest and math.max(0, now - tonumber(string.match(oldest[1], '^%d+'))) or -1
end
local function is_empty(lane) return ages[lane] == -1 and ages[lane + lanes] == -1 end
local counted = redis.call('HGETALL', KEYS[1])
local left = 0
for i = 1, #counted, 2 do
  local tenant = tonumber(counted[i])
  if tenant then
    if is_empty(tenant % lanes + 1) and redis.call('HEXISTS', KEYS[2], counted[i]) == 0 then
      redis.call('HDEL', KEYS[1], counted[i])
    else
      left = left + tonumber(counted[i + 1])
    end
  end
end
local total = tonumber(redis.call('HGET', KEYS[1], 'total') or 0)
if left == 0 and total ~= 0 then
  redis.call('HDEL', KEYS[1], 'total')
elseif left ~= total then
  redis.call('HINCRBY', KEYS[1], 'total', left - total)
end
return {redis.call('HGETALL', KEYS[1]), ages, redis.call('HKEYS', KEYS[2])}
"""


class QueuedBytes(NamedTuple):
    """What waits in the queue at one moment."""

    tenants: Mapping[int, int]
    """Payload bytes by tenant; tenants without any are left out."""
    total: int
    drained: int
    """Payload bytes that ever left the queue; less than before only if Redis was emptied."""
    oldest_seconds: tuple[float, ...]
    """How long the oldest entry of each stream has waited, by Redis's own clock; 0 for an empty one."""
    withholding: frozenset[int] = frozenset()
    """The tenants some of whose events are withheld."""


class QueueMeter:
    """Reads the counts, a round trip each time, and corrects what is counted for empty lanes.

    Args:
        client: Redis.
        streams: the keys of all lanes, then those of their busy streams; the tenant's id modulo the number of lanes
            tells its lane.
        withheld: the key of the hash that tells which tenants have entries moved out of their lane.
    """

    def __init__(self, client: Redis, *, streams: tuple[str, ...], withheld: str) -> None:
        self._keys = [BYTES_KEY, withheld, *streams]
        self._measure: Any = client.register_script(_MEASURE)

    async def read(self) -> QueuedBytes:
        """What waits now.

        Raises:
            QueueUnavailableError: Redis is away.
        """
        with translated_errors():
            flat, ages, withholding = await self._measure(keys=self._keys)
        counts = dict(zip(flat[::2], map(int, flat[1::2]), strict=True))
        total, drained = counts.pop(b"total", 0), counts.pop(b"drained", 0)
        return QueuedBytes(
            tenants={int(tenant): size for tenant, size in counts.items()},
            total=total,
            drained=drained,
            oldest_seconds=tuple(max(0, age) / 1000 for age in ages),
            withholding=frozenset(map(int, withholding)),
        )


def count_on(pipeline: Any, sizes: Mapping[int, int]) -> None:
    """Add to a transaction the counting of `sizes`, the bytes of what it pushes by tenant.

    Its last results are then the new count of each tenant, in the order of `sizes`, and the new total.
    """
    for tenant_id, size in sizes.items():
        pipeline.hincrby(BYTES_KEY, str(tenant_id), size)
    pipeline.hincrby(BYTES_KEY, "total", sum(sizes.values()))
