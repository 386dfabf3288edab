"""Suspects: entries that were in hand again and again when a worker died, so that one of them may be the cause.

An event can kill the process that works on it, by its memory or by a fault in a native library. Nothing catches
that, so the entry stays pending, and Redis counts how often it was delivered. From `SUSPECT_DELIVERIES` on:

- It is claimed alone. Its innocent neighbours are stored when their turn comes; only the guilty one is left.
- It is claimed only after a pause since its last delivery, which doubles from 4 to 300 seconds. In between, the
  workers get on with everything else.

It is never dropped: once workers survive it, it is stored. Only deaths are meant to count, so a consumer that leaves
in order takes the delivery to itself back. (What was read a second time because an answer got lost counts too; it
takes many of those and deaths to come so far, and a false suspect is only stored a little later.)
"""

from typing import NamedTuple

from common.queue.streams import Entry

SUSPECT_DELIVERIES = 10
"""More than a fleet that is killed as a whole, some times in a row, gives an innocent entry."""

_FIRST_PAUSE_MILLISECONDS = 4_000
_LONGEST_PAUSE_MILLISECONDS = 300_000

_PENDING = f"""
local function each_pending(visit)
  local start = '-'
  repeat
    local page = redis.call('XPENDING', KEYS[1], ARGV[1], start, '+', 100, ARGV[2])
    for _, item in ipairs(page) do
      if visit(item[1], item[3], item[4]) then return end
      start = '(' .. item[1]
    end
  until #page < 100
end
local function is_suspect(deliveries) return deliveries >= {SUSPECT_DELIVERIES} end
local function pauses(idle, deliveries)
  local pause = {_FIRST_PAUSE_MILLISECONDS} * 2 ^ (deliveries - {SUSPECT_DELIVERIES})
  return idle < math.min(pause, {_LONGEST_PAUSE_MILLISECONDS})
end
"""

CLAIM = (
    _PENDING
    + """
local ids, pausing, due = {}, {}, 0
each_pending(function(id, idle, deliveries)
  if not is_suspect(deliveries) then
    ids[#ids + 1] = id
  elseif pauses(idle, deliveries) then
    pausing[#pausing + 1] = id
  else
    due = due + 1
  end
  return #ids == tonumber(ARGV[4])
end)
if #ids > 0 then return {redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, unpack(ids)), 0, 0} end
local events = 0
for _, id in ipairs(pausing) do
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  local fields = entry and entry[2] or {}
  for i = 1, #fields, 2 do
    if fields[i] == 'events' then events = events + (tonumber(fields[i + 1]) or 1) end
  end
end
return {{}, due, events}
"""
)
"""Lua: take over entries of a consumer that are no suspects, but only those that are still its own: of two rescuers
that saw the same dead consumer, the second finds what the first left. KEYS: lane. ARGV: group, dead consumer, new
consumer, most entries. Answers the entries and, once there are none, how many suspects are due and how many events
lie in those that pause."""

CLAIM_SUSPECT = (
    _PENDING
    + """
local suspect, times = nil, 0
each_pending(function(id, idle, deliveries)
  if is_suspect(deliveries) and not pauses(idle, deliveries) then suspect, times = id, deliveries end
  return suspect
end)
if not suspect then return {{}, 0} end
return {redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, suspect), times}
"""
)
"""Lua: take over one suspect of a consumer that is due. KEYS: lane. ARGV: group, dead consumer, new consumer.
Answers a list of it, or of nothing, and how often it was delivered before."""

LEAVE = """
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100000, ARGV[2])
if #pending == 0 then return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
for _, item in ipairs(pending) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, item[1],
             'IDLE', item[3], 'RETRYCOUNT', math.max(item[4] - 1, 0), 'JUSTID')
end
return -1
"""
"""Lua: forget a consumer that leaves in order. What is pending under its name stays, for others to take over, and
the delivery to this consumer, who did not die of it, is not counted. KEYS: lane. ARGV: group, consumer."""


class Suspect(NamedTuple):
    """A suspect that was just claimed."""

    entry: Entry
    deliveries: int
    """How often it was delivered before."""
