"""The ingest stage: from the lanes of Redis into PostgreSQL."""

import math
import time
from collections.abc import Sequence

import psycopg
import structlog
from redis import Redis

from common.clock import Clock
from common.errors import InvalidEventError, QueueUnavailableError
from common.metrics import Metrics
from common.settings import Settings
from common.streams import Entry, LaneConsumer, Record, depth
from common.wakeup import Waker
from worker.refusals import RefusedEvent
from worker.store import Store, StoredBatch
from worker.validation import EventTypes, ValidEvent, validate

_MOST_ENTRIES_OF_A_LANE = 128
_TYPES_FRESH_SECONDS = 5.0

log = structlog.get_logger(__name__)


class IngestStage:
    """Takes record batches from the lanes, stores what is new in them, and acknowledges them.

    One stage serves one drain: the entries that it took stay under its name until they are stored.
    """

    queue = "ingest"

    def __init__(
        self,
        name: str,
        *,
        client: Redis,
        store: Store,
        types: EventTypes,
        waker: Waker,
        metrics: Metrics,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._redis = client
        self._consumer = LaneConsumer(client, name)
        self._store = store
        self._types = types
        self._types_loaded = -math.inf
        self._waker = waker
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._held: list[Entry] = []
        self._entries_of_a_lane = 1
        self._consumer.create_groups()

    def step(self, wait_seconds: float) -> int:
        """Store the next batch; see `common.drain.Stage`."""
        if not self._held:
            self._held = self._consumer.read(self._entries_of_a_lane, wait_seconds)
            self._follow_entry_size(self._held)
        if not self._held:
            return 0
        batch = self._next_batch()
        self._refresh_types()
        self._process(batch)
        self._consumer.acknowledge(batch)
        del self._held[: len(batch)]
        return sum(len(entry.records) for entry in batch)

    def rescue(self, live: set[str]) -> int:
        """Take over the entries of drains that are gone; see `common.drain.Stage`."""
        claimed = self._consumer.claim_orphans(live, _MOST_ENTRIES_OF_A_LANE)
        self._held.extend(claimed)
        self._metrics.count("sspp_entries_claimed_total", len(claimed))
        return sum(len(entry.records) for entry in claimed)

    def backlog(self) -> int:
        """Events in the lanes, those in work included."""
        return sum(depth(self._redis).values())

    def close(self) -> None:
        """Leave the consumer group; entries still held are taken over by the next drain."""
        self._consumer.leave()

    def _next_batch(self) -> list[Entry]:
        """As many of the held entries, from the front, as make about one batch of events."""
        batch: list[Entry] = []
        events = 0
        for entry in self._held:
            if batch and events + len(entry.records) > self._settings.batch_events:
                break
            batch.append(entry)
            events += len(entry.records)
        return batch

    def _follow_entry_size(self, entries: Sequence[Entry]) -> None:
        """Choose how many entries to read of each lane, so that a read brings about one batch of events.

        Entries hold one event or a hundred, as the traffic has it. Doubling towards the goal and jumping down
        bounds what one read can bring after small entries gave way to large ones.
        """
        events = sum(len(entry.records) for entry in entries)
        if events > self._settings.batch_events:
            fitting = self._entries_of_a_lane * self._settings.batch_events // events
            self._entries_of_a_lane = max(1, fitting)
        elif events * 2 <= self._settings.batch_events and len(entries) >= self._entries_of_a_lane:
            self._entries_of_a_lane = min(self._entries_of_a_lane * 2, _MOST_ENTRIES_OF_A_LANE)

    def _refresh_types(self) -> None:
        """Learn of the event types that tenants registered, at most some seconds late."""
        if time.monotonic() - self._types_loaded >= _TYPES_FRESH_SECONDS:
            self._types.replace_tenant_types(self._store.tenant_types())
            self._types_loaded = time.monotonic()

    def _process(self, batch: Sequence[Entry]) -> None:
        started = time.perf_counter()
        valid, refused = self._validate(batch)
        validated = time.perf_counter()
        stored = self._write(valid, refused)
        finished = time.perf_counter()
        self._metrics.observe(
            "sspp_stage_duration_seconds", validated - started, stage="ingest", step="validate"
        )
        self._metrics.observe(
            "sspp_stage_duration_seconds", finished - validated, stage="ingest", step="store"
        )
        self._metrics.observe("sspp_batch_size", len(valid) + len(refused), stage="ingest")
        log.info(
            "batch_processed",
            entries=[f"{entry.lane}/{entry.entry_id.decode()}" for entry in batch],
            valid=len(valid),
            refused=len(refused),
            stored=stored,
            seconds=round(finished - started, 4),
        )

    def _validate(self, batch: Sequence[Entry]) -> tuple[list[ValidEvent], list[RefusedEvent]]:
        valid: list[ValidEvent] = []
        refused: list[RefusedEvent] = []
        for entry in batch:
            for record in entry.records:
                try:
                    valid.append(
                        validate(entry.tenant_id, record, self._types, max_nesting=self._settings.max_nesting)
                    )
                except InvalidEventError as reason:
                    refused.append(RefusedEvent(entry.tenant_id, record, reason))
        return valid, refused

    def _write(self, valid: Sequence[ValidEvent], refused: Sequence[RefusedEvent]) -> int:
        """Store; returns how many events were new.

        When PostgreSQL refuses a batch for its content, the batch is halved until the guilty event stands
        alone; that one is refused, and its neighbours are stored.
        """
        try:
            stored = self._store.write(valid, refused)
        except psycopg.Error as error:
            if len(valid) + len(refused) > 1:
                middle, cut = len(valid) // 2, len(refused) // 2
                return self._write(valid[:middle], refused[:cut]) + self._write(valid[middle:], refused[cut:])
            if not valid:
                raise  # not even the refusal can be written: the code is at fault, so keep the work queued
            return self._write([], [_unstorable(valid[0], error)])
        self._account(stored, refused)
        return len(stored.new)

    def _account(self, stored: StoredBatch, refused: Sequence[RefusedEvent]) -> None:
        now = self._clock()
        for valid in stored.new:
            self._metrics.observe("sspp_store_lag_seconds", (now - valid.event.received_at).total_seconds())
        self._metrics.count("sspp_events_stored_total", len(stored.new))
        self._metrics.count("sspp_signals_stored_total", sum(len(v.projection.signals) for v in stored.new))
        self._metrics.count("sspp_events_duplicate_total", stored.duplicates)
        self._metrics.count("sspp_events_conflict_total", len(stored.conflicts))
        for event_id in stored.conflicts:
            log.warning("event_conflict", batch_id=stored.batch_id, event_id=event_id)
        for one in refused:
            self._metrics.count("sspp_events_rejected_total", code=one.reason.code)
            log.warning(
                "event_rejected",
                batch_id=stored.batch_id,
                tenant_id=one.tenant_id,
                event_id=one.record.event_id,
                code=one.reason.code,
                path=one.reason.path,
            )
        log.info(
            "batch_stored", batch_id=stored.batch_id, stored=len(stored.new), duplicates=stored.duplicates
        )
        if stored.new:
            self._wake_index()

    def _wake_index(self) -> None:
        """Tell the index stage. The outbox keeps the work: a lost wake-up is made good by the watchdog."""
        try:
            self._waker.wake("index")
        except QueueUnavailableError as error:
            log.warning("wake_up_failed", queue="index", detail=error.detail)


def _unstorable(valid: ValidEvent, error: psycopg.Error) -> RefusedEvent:
    reason = InvalidEventError(
        "unstorable",
        f"PostgreSQL cannot hold this event: {error.diag.message_primary or type(error).__name__}",
    )
    event = valid.event
    return RefusedEvent(
        event.tenant_id, Record(event.event_id, event.received_at, valid.raw.encode()), reason
    )
