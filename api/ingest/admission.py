"""Whether the queue has room for more: load is shed at the door, while workers can still drain."""

import asyncio
import math
import random
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence

import structlog
from redis.asyncio import Redis

from api.http.errors import ShedError
from api.periodic import Periodic
from common.errors import QueueUnavailableError
from common.metrics import Metrics
from common.queue.durability import INFO_SECTIONS, endangers_events
from common.queue.queued_bytes import QueuedBytes, QueueMeter
from common.queue.streams import LANES, STREAMS, WITHHELD_KEY
from common.redis import translated_errors
from common.settings import Settings

REFRESH_SECONDS = 1.0
_REFRESH_TIMEOUT_SECONDS = 2.0
_RATE_SAMPLES = 11  # ten seconds' worth: long enough for a drain's batches to look like a stream

# Withheld events leave only when somebody decides: those of several tenants must not close the queue for the rest.
_WITHHOLDERS_SHARE = 0.5

_LOW_WATER = 0.9
_LONGEST_RETRY_SECONDS = 60.0
_SPREAD = 1.25

log = structlog.get_logger(__name__)


class Admission:
    """Knows what waits in the queue, and turns away what would make it too much.

    What it knows comes from the answers to this process's own pushes, and from a look at Redis about once a
    second by a task of its own; no request waits for either. While Redis does not answer, what was known last
    counts. Several API processes know of each other's events only that late, so together they may exceed a limit
    by what each of them has waiting for its push (64 MiB) or in the push (4 MiB, or one request).

    Args:
        client: Redis.
        settings: the limits.
        metrics: where what waits and what is shed is counted.
    """

    def __init__(self, client: Redis, settings: Settings, metrics: Metrics) -> None:
        self._redis = client
        self._settings = settings
        self._metrics = metrics
        self._meter = QueueMeter(client, streams=STREAMS, withheld=WITHHELD_KEY)
        self._queued: dict[int, int] = {}
        self._total = 0
        self._withholding: frozenset[int] = frozenset()
        self._lane_allowances: dict[
            int, tuple[float, float]
        ] = {}  # what is left of a second's, and when it was
        self._pending: Counter[int] = Counter()
        self._pending_total = 0
        self._oldest_seconds: Sequence[float] = [0.0] * len(STREAMS)
        self._redis_memory = 0.0
        self._danger: str | None = None
        self._blind = False
        self._drained: deque[tuple[float, int]] = deque(maxlen=_RATE_SAMPLES)
        self._shed: Counter[str] = Counter()
        self._watch = Periodic(self._look, seconds=REFRESH_SECONDS, name="admission")
        metrics.set("sspp_queued_bytes_limit", settings.max_queued_bytes)

    async def start(self) -> None:
        """Learn what waits, if Redis is there to tell, and go on doing so."""
        await self._try_refresh()
        self._watch.start()

    async def stop(self) -> None:
        """End the task."""
        await self._watch.stop()

    def check(self, tenant_id: int, size: int = 0) -> None:
        """Return if the queue has room for `size` more bytes of the tenant's events; costs next to nothing.

        Raises:
            ShedError: 429 for the tenant's own limit and that of all tenants with withheld events, 503 for the
                limits of the queue and of Redis.
        """
        limits = self._settings
        size = max(size, 1)
        own = self._queued.get(tenant_id, 0) + self._pending[tenant_id]
        if _exceeds(own, size, limits.max_tenant_queued_bytes):
            detail = "too many of your events wait to be stored; send more when some are"
            raise self._shedding(429, "tenant_queue_full", detail, own, limits.max_tenant_queued_bytes)
        if tenant_id in self._withholding:
            held = sum(self._queued.get(each, 0) + self._pending[each] for each in self._withholding)
            limit = _WITHHOLDERS_SHARE * limits.max_queued_bytes
            if _exceeds(held, size, limit):
                detail = "most of your events would be refused: mend what GET /v1/rejected/withheld shows or release it"
                raise self._shedding(429, "refusals_withheld", detail, held, limit)
        total = self._total + self._pending_total
        if _exceeds(total, size, limits.max_queued_bytes):
            detail = "too many events wait to be stored; try again when some are"
            raise self._shedding(503, "queue_full", detail, total, limits.max_queued_bytes)
        lane = tenant_id % len(LANES)
        age = self._oldest_seconds[lane if own < limits.lane_share_bytes else lane + len(LANES)]
        if 0 < limits.max_queue_age_seconds < age:
            detail = "events wait too long to be stored; try again when the oldest are"
            raise self._shedding(503, "queue_too_old", detail, age, limits.max_queue_age_seconds)
        if self._redis_memory > limits.max_redis_memory:
            detail = "Redis is short of memory; try again when some of what waits is stored"
            raise self._shedding(503, "queue_memory_low", detail, self._redis_memory, limits.max_redis_memory)
        if self._danger:
            raise self._shedding(503, "queue_unsafe", self._danger, 0, 1)  # until somebody mends it

    def takes_lane(self, tenant_id: int, size: int, *, ahead: int) -> bool:
        """Whether `size` more bytes of the tenant may wait in front of other tenants' events, and count for that.

        They may if no more than the tenant's share waits, `ahead` bytes of the same push included; and if no more than
        it came in the last second: who sends little does not wait behind the busy ones for having had to wait once.
        """
        share, now = self._settings.lane_share_bytes, time.monotonic()
        left, since = self._lane_allowances.get(tenant_id, (share, now))
        left = min(share, left + share * (now - since))
        takes = size <= left or self._queued.get(tenant_id, 0) + ahead + size <= share
        self._lane_allowances[tenant_id] = (max(0, left - size) if takes else left, now)
        return takes

    def reserve(self, tenant_id: int, size: int) -> None:
        """Count `size` bytes that are on their way into the queue, until `release`."""
        self._pending[tenant_id] += size
        self._pending_total += size

    def release(self, tenant_id: int, size: int) -> None:
        """The bytes of a `reserve` are in the queue, or did not get there."""
        self._pending[tenant_id] -= size
        self._pending_total -= size
        if not self._pending[tenant_id]:
            del self._pending[tenant_id]

    def learn(self, queued: Mapping[int, int], total: int) -> None:
        """Take over what a push was answered: the bytes in the queue of its tenants, and of all."""
        self._queued.update(queued)
        self._total = total

    async def _look(self) -> None:
        await self._try_refresh()
        if self._shed:
            # One line a second, whatever comes: a flood must not drown the log as well.
            log.warning("requests_shed", codes=dict(self._shed), queued_bytes=self._total)
            self._shed.clear()

    async def _try_refresh(self) -> None:
        try:
            async with asyncio.timeout(_REFRESH_TIMEOUT_SECONDS):
                await self._refresh()
        except (QueueUnavailableError, TimeoutError) as error:
            if not self._blind:  # once an outage, not once a second
                log.warning("queue_not_measured", detail=str(error) or "no answer in time")
            self._blind = True
        except Exception:  # whatever it was, the next look may succeed; without one, limits would be blind
            log.exception("queue_not_measured")
            self._blind = True
        else:
            self._blind = False

    async def _refresh(self) -> None:
        found = await self._meter.read()
        with translated_errors():
            info = await self._redis.info(*INFO_SECTIONS)
        self._note(found, time.monotonic())
        most = info.get("maxmemory", 0)
        used = info.get("used_memory", 0) - info.get("mem_not_counted_for_evict", 0)
        self._redis_memory = used / most if most else 0.0
        danger = endangers_events(info) if self._settings.environment == "production" else None
        if danger and not self._danger:
            log.error("queue_unsafe", detail=danger)
        self._danger = danger

    def _note(self, found: QueuedBytes, now: float) -> None:
        self._queued = dict(found.tenants)
        self._total = found.total
        self._withholding = found.withholding
        self._oldest_seconds = found.oldest_seconds
        if self._drained and found.drained < self._drained[-1][1]:
            self._drained.clear()  # Redis was emptied
        self._drained.append((now, found.drained))
        self._metrics.set("sspp_queued_bytes", found.total)

    def _shedding(self, status: int, code: str, detail: str, value: float, limit: float) -> ShedError:
        self._shed[code] += 1
        self._metrics.count("sspp_requests_shed_total", code=code)
        wait = retry_after_seconds(value / limit, self._total, drain_rate(self._drained))
        return ShedError(status, code, detail, retry_after=wait)


def drain_rate(samples: Sequence[tuple[float, int]]) -> float:
    """Bytes a second, from the oldest to the newest of `samples`: instants in seconds, and the bytes ever drained."""
    if len(samples) < 2:
        return 0.0
    (began, first), (ended, last) = samples[0], samples[-1]
    return (last - first) / (ended - began)


def retry_after_seconds(load: float, queued: int, rate: float) -> int:
    """When to come back: once the queue has drained to nine tenths of the limit, between 1 and 60 seconds.

    It is spread by a quarter, so that those who were turned away together do not come back together.

    Args:
        load: how full what is limited is, 1 being its limit. All that waits is taken to drain evenly: what must
            go to bring this down to nine tenths is the same share of the queue.
        queued: bytes in the queue.
        rate: bytes a second that drain.
    """
    excess = queued * max(0.0, 1 - _LOW_WATER / load) if load else queued
    wait = excess / rate if rate > 0 else math.inf
    wait = min(max(wait, 1.0), _LONGEST_RETRY_SECONDS / _SPREAD)
    return math.ceil(wait * random.uniform(1, _SPREAD))  # noqa: S311


def _exceeds(held: int, size: int, limit: float) -> bool:
    # An empty queue takes anything: what is larger than the limit would otherwise never get in.
    return held > 0 and held + size > limit
