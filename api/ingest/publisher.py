"""Puts raw events into Redis: one push at a time, and what arrives meanwhile rides in the next."""

import asyncio
import time
import traceback
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import structlog
from redis.asyncio import Redis

from api.ingest.admission import Admission
from common.errors import QueueUnavailableError
from common.metrics import Metrics
from common.queue.queued_bytes import count_on
from common.queue.streams import DEPTH_KEY, Record, busy_lane_of, encode_entry, entry_size, lane_of
from common.redis import translated_errors
from common.tracing.tracing import NO_TRACING, Publication, Tracing
from common.wakeup import Waker, awake_key

INGEST_QUEUE = "ingest"

_ENTRY_EVENTS, _ENTRY_BYTES = 128, 128 * 1024
_PUSH_BYTES = 4 * 1024 * 1024
_WAITING_BYTES = 64 * 1024 * 1024

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Parcel:
    """The records of one caller, waiting for the next push."""

    tenant_id: int
    records: Sequence[Record]
    size: int
    request_id: str
    durable: asyncio.Future[None]
    span: Publication | None


class Publisher:
    """The way of events into the lanes, shared by all requests of one API process.

    Gathering what arrives while a push is in flight batches without a timer: alone, an event waits for nothing;
    under load, hundreds share one fsync.

    Args:
        client: Redis, which must run with AOF and ``appendfsync always`` for the promise of `publish` to hold.
        waker: wakes the ingest drains.
        metrics: where pushes are counted.
        admission: whether there is room; it learns from every push.
        liveness_seconds: how long the wake-up mark lasts.
        tracing: what records the way of traced requests' events.
    """

    def __init__(
        self,
        client: Redis,
        waker: Waker,
        metrics: Metrics,
        admission: Admission,
        *,
        liveness_seconds: float,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._redis = client
        self._tracing = tracing
        self._admission = admission
        self._waker = waker
        self._metrics = metrics
        self._liveness_milliseconds = int(liveness_seconds * 1000)
        self._waiting: deque[_Parcel] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._pusher: asyncio.Task[None] | None = None
        self._stopping = False
        self._wakeups: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to push; call once, within the event loop that serves the requests."""
        self._loop = asyncio.get_running_loop()  # once: asking for it is a system call each time
        self._pusher = asyncio.create_task(self._push_until_stopped(), name="publisher")

    async def stop(self) -> None:
        """Push what still waits, then end. Call when no request is in work any more."""
        self._stopping = True
        self._arrived.set()
        if self._pusher is not None:
            await self._pusher
        await asyncio.gather(*self._wakeups, return_exceptions=True)

    async def publish(self, tenant_id: int, records: Sequence[Record]) -> None:
        """Return once all `records` are in the tenant's lane and on Redis's disk.

        Raises:
            QueueUnavailableError: Redis is away or refuses writes, or too much waits for it already. The records
                may or may not have arrived; sending them again is harmless, as their ids make them the same.
            ShedError: the queue has no room for them.
        """
        if not records:
            return
        size = sum(len(record.raw) for record in records)
        self._admission.check(tenant_id, size)
        if self._waiting and self._waiting_bytes + size > _WAITING_BYTES:
            raise QueueUnavailableError(
                "more events arrive than Redis takes in at the moment; try again shortly"
            )
        await self._enqueue(tenant_id, records, size)

    def _enqueue(self, tenant_id: int, records: Sequence[Record], size: int) -> asyncio.Future[None]:
        """Have `records` pushed; the future is done when they are durable.

        Await it without giving it a name: a frame that keeps it is in a cycle with the error that it may bring.
        """
        request_id = structlog.contextvars.get_contextvars().get("request_id", "")
        span = self._tracing.publish(tenant_id, len(records))
        parcel = _Parcel(tenant_id, records, size, request_id, self._loop.create_future(), span)
        self._waiting.append(parcel)
        self._waiting_bytes += size
        self._admission.reserve(tenant_id, size)
        self._arrived.set()
        return parcel.durable

    async def _push_until_stopped(self) -> None:
        while self._waiting or not self._stopping:
            await self._arrived.wait()
            # By no name of this frame, where they would stay until the next ones.
            await self._deliver(self._take())

    async def _deliver(self, parcels: list[_Parcel]) -> None:
        if not parcels:
            return
        try:
            streams = await self._push(parcels)
        except Exception as error:  # whatever it was, the waiting requests must hear of it
            if not isinstance(error, QueueUnavailableError):
                log.exception("push_crashed")  # the requests' lines cannot say where
            self._settle(parcels, _without_frames(error), {})
        else:
            self._settle(parcels, None, streams)

    def _take(self) -> list[_Parcel]:
        parcels: list[_Parcel] = []
        size = 0
        while self._waiting and (not parcels or size + self._waiting[0].size <= _PUSH_BYTES):
            parcel = self._waiting.popleft()
            parcels.append(parcel)
            size += parcel.size
        self._waiting_bytes -= size
        if not self._waiting:
            self._arrived.clear()
        return parcels

    async def _push(self, parcels: list[_Parcel]) -> Mapping[int, Collection[str]]:
        """Push; returns the streams that each tenant's records are in."""
        started = time.perf_counter()
        by_tenant: dict[int, list[Record]] = {}
        for parcel in parcels:
            by_tenant.setdefault(parcel.tenant_id, []).extend(parcel.records)
        pipeline = self._redis.pipeline(transaction=True)
        sizes = dict.fromkeys(by_tenant, 0)
        depths: Counter[str] = Counter()
        streams: dict[int, set[str]] = {tenant_id: set() for tenant_id in by_tenant}
        contexts = _contexts(parcels)
        for tenant_id, records in by_tenant.items():
            own = iter(contexts.get(tenant_id, ()))
            for chunk in _chunks(records):
                fields = encode_entry(tenant_id, chunk, list(filter(None, islice(own, len(chunk)))))
                size = entry_size(fields)
                takes_lane = self._admission.takes_lane(tenant_id, size, ahead=sizes[tenant_id])
                stream = lane_of(tenant_id) if takes_lane else busy_lane_of(tenant_id)
                sizes[tenant_id] += size
                depths[stream] += len(chunk)
                streams[tenant_id].add(stream)
                pipeline.xadd(stream, fields)  # type: ignore[arg-type]  # bytes are fields too
        for stream, events in depths.items():
            pipeline.hincrby(DEPTH_KEY, stream, events)
        pipeline.set(awake_key(INGEST_QUEUE), 1, nx=True, px=self._liveness_milliseconds)
        count_on(pipeline, sizes)
        with translated_errors():
            *results, total = await pipeline.execute()
        self._admission.learn(dict(zip(sizes, results[-len(sizes) :], strict=True)), total)
        *results, nobody_was_awake = results[: -len(sizes)]
        if nobody_was_awake:
            wakeup = asyncio.create_task(self._wake())
            self._wakeups.add(wakeup)
            wakeup.add_done_callback(self._wakeups.discard)

        count = sum(len(records) for records in by_tenant.values())
        self._metrics.count("sspp_events_accepted_total", count)
        self._metrics.observe("sspp_push_events", count)
        self._metrics.observe("sspp_push_duration_seconds", time.perf_counter() - started)
        # From here on the entries name the events: the workers log them with the batch that stores them.
        entries = [result.decode() for result in results if isinstance(result, bytes)]
        requests = [parcel.request_id for parcel in parcels]
        log.info("events_pushed", events=count, entries=entries, request_ids=requests)
        return streams

    async def _wake(self) -> None:
        """Enqueue a drain. A failure only delays it: the events are durable and the watchdog comes by."""
        try:
            await asyncio.to_thread(self._waker.enqueue_unless_queued, INGEST_QUEUE)
        except QueueUnavailableError as error:
            log.warning("wake_up_failed", detail=error.detail)

    def _settle(
        self,
        parcels: list[_Parcel],
        error: Exception | None,
        streams: Mapping[int, Collection[str]],
    ) -> None:
        for parcel in parcels:
            if parcel.span:
                parcel.span.end(streams.get(parcel.tenant_id, ()), error)
            self._admission.release(parcel.tenant_id, parcel.size)
            if parcel.durable.done():  # its request was cancelled; the events went all the same
                continue
            if error is None:
                parcel.durable.set_result(None)
            else:
                parcel.durable.set_exception(error)


def _without_frames(error: Exception) -> Exception:
    """`error` itself, changed in place: without its causes, and without what the ended ones of its frames held.

    These hold the parcels, which will hold the error; and redis-py makes cycles of its own, with all that it was to
    send. Each failed request would stay in memory, body and all, until the garbage collector comes.
    """
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def _contexts(parcels: Sequence[_Parcel]) -> Mapping[int, Sequence[str]]:
    """Of tenants with traced parcels, what is to travel with each of their records; empty where that is nothing."""
    contexts: dict[int, list[str]] = {parcel.tenant_id: [] for parcel in parcels if parcel.span}
    for parcel in parcels if contexts else ():
        if parcel.tenant_id in contexts:
            contexts[parcel.tenant_id] += [parcel.span.context if parcel.span else ""] * len(parcel.records)
    return contexts


def _chunks(records: Sequence[Record]) -> list[Sequence[Record]]:
    """Cut `records` into runs of bounded count and size, in order; a single large record is a run of its own."""
    chunks: list[Sequence[Record]] = []
    start = size = 0
    for position, record in enumerate(records):
        if position > start and (position - start == _ENTRY_EVENTS or size + len(record.raw) > _ENTRY_BYTES):
            chunks.append(records[start:position])
            start, size = position, 0
        size += len(record.raw)
    chunks.append(records[start:])
    return chunks
