"""The ingest stage: from the lanes of Redis into PostgreSQL."""

import math
import time
from collections import Counter
from collections.abc import Sequence

import structlog

from common.errors import InvalidEventError, QueueUnavailableError
from common.logging import unbound_contextvars
from common.queue.lane_consumer import LaneConsumer
from common.queue.streams import Entry, Record, depth
from common.queue.withheld import WithheldEvents, WithheldPart
from common.services import Services
from worker.batch_size import ReadSize, next_batch
from worker.domains.domain import Event
from worker.guard import RefusalGuard
from worker.isolation import broke_the_code, store_isolating
from worker.refusals import RefusedEvent, envelope_hints
from worker.store import Store, StoredBatch
from worker.validation import EventTypes, ValidEvent, validate
from worker.withholding import BatchRefusals

_TYPES_FRESH_SECONDS = 5.0
_NAMED_TRACES = 20
_LOGGED_FAULTS = 10

log = structlog.get_logger(__name__)


class IngestStage:
    """Takes record batches from the lanes, stores what is new in them, and acknowledges them.

    One stage serves one drain: the entries that it took stay under its name until they are stored. `types` and
    `guard` outlive it and belong to the process.
    """

    queue = "ingest"

    def __init__(
        self, name: str, services: Services, *, store: Store, types: EventTypes, guard: RefusalGuard
    ) -> None:
        self._services = services
        self._metrics = services.metrics
        self._consumer = LaneConsumer(services.redis, name, max_event_bytes=services.settings.max_event_bytes)
        self._store = store
        self._types = types
        self._types_loaded = -math.inf
        self._guard = guard
        self._withheld = WithheldEvents(services.redis)
        self._held: list[Entry] = []
        self._read_size = ReadSize(services.settings.batch_events)
        self._consumer.create_groups()

    def step(self, wait_seconds: float) -> int:
        """Store the next batch; see `common.drain.Stage`."""
        if not self._held:
            self._held = self._consumer.read(self._read_size.entries_of_a_lane, wait_seconds)
            self._read_size.follow(self._held)
        batch = next_batch(self._held, most_events=self._services.settings.batch_events)
        if not batch:
            return 0
        self._refresh_types()
        refusals = BatchRefusals(batch, self._guard, self._withheld)
        entries = [f"{entry.lane}/{entry.entry_id.decode()}" for entry in batch]
        # The entries link these lines to those of the API, which name the requests that brought them.
        with structlog.contextvars.bound_contextvars(entries=entries):
            self._process(batch, refusals)
            parts = refusals.parts()
            self._put_away(batch, parts)
            refusals.settle(parts)
        del self._held[: len(batch)]
        self._bring_more_back(batch, parts)
        return sum(len(entry.records) for entry in batch)

    def rescue(self, live: set[str]) -> int | None:
        """Take over about a batch from drains that are gone; see `common.drain.Stage`."""
        if self._held:
            return None  # memory is bounded by holding one read's worth at a time
        self._held = self._consumer.claim_orphans(live, self._services.settings.batch_events)
        suspect = None if self._held else self._consumer.claim_suspect()
        if suspect:
            self._held = [suspect.entry]
        self._metrics.count("sspp_entries_claimed_total", len(self._held))
        if suspect:
            # Before it is touched: there may be no later.
            log.error(
                "entry_kills_workers",
                lane=suspect.entry.lane,
                entry_id=suspect.entry.entry_id.decode(),
                tenant_id=suspect.entry.tenant_id,
                deliveries=suspect.deliveries,
            )
            self._metrics.count("sspp_suspect_entries_claimed_total")
            return None  # there may be more of them, and each comes alone
        return sum(len(entry.records) for entry in self._held)

    def backlog(self) -> int:
        """Events in the lanes, those in work included, but not those that nobody may take yet."""
        return max(0, sum(depth(self._services.redis).values()) - self._consumer.pausing_events)

    def close(self) -> None:
        """Leave the consumer group; entries still held are taken over by the next drain."""
        self._consumer.leave()

    def _refresh_types(self) -> None:
        """Learn of the event types that tenants registered, at most some seconds late."""
        if time.monotonic() - self._types_loaded >= _TYPES_FRESH_SECONDS:
            self._types.replace_tenant_types(self._store.tenant_types())
            self._types_loaded = time.monotonic()

    def _put_away(self, batch: Sequence[Entry], parts: Sequence[WithheldPart]) -> None:
        """Take the batch out of the lanes: `parts` of it are withheld, all else is stored."""
        self._metrics.count("sspp_refusals_withheld_total", self._withheld.withhold(parts))
        withheld = {(part.entry.lane, part.entry.entry_id) for part in parts}
        self._consumer.acknowledge([entry for entry in batch if (entry.lane, entry.entry_id) not in withheld])

    def _bring_more_back(self, batch: Sequence[Entry], parts: Sequence[WithheldPart]) -> None:
        """Where withheld events turned out valid, or were released, bring back as many as just came through."""
        came, kept = Counter[int](), Counter[int]()
        for entry in batch:
            if entry.withheld:
                came[entry.tenant_id] += len(entry.records)
        for part in parts:
            if part.entry.withheld:
                kept[part.entry.tenant_id] += len(part.records)
        for tenant_id, events in came.items():
            if kept[tenant_id] < events:
                self._withheld.bring_back(tenant_id, events)

    def _process(self, batch: Sequence[Entry], refusals: BatchRefusals) -> None:
        started = time.perf_counter()
        valid, refused = self._validate(batch)
        admitted = refusals.admit(refused)
        validated = time.perf_counter()
        self._store_all(valid, admitted, refusals)
        finished = time.perf_counter()
        self._observe("validate", validated - started)
        self._observe("store", finished - validated)
        self._metrics.observe("sspp_batch_size", len(valid) + len(refused), stage=self.queue)

    def _store_all(
        self, valid: Sequence[ValidEvent], refused: Sequence[RefusedEvent], refusals: BatchRefusals
    ) -> None:
        guilty: list[RefusedEvent] = []
        for stored, also_refused in store_isolating(self._store, valid, refused, guilty):
            self._account(stored, also_refused)
        # All at once, so that the guard sees how many they are before the first is refused.
        if guilty and (admitted := refusals.admit(guilty)):
            for stored, also_refused in store_isolating(self._store, [], admitted, guilty):
                self._account(stored, also_refused)

    def _observe(self, step: str, seconds: float) -> None:
        self._metrics.observe("sspp_stage_duration_seconds", seconds, stage=self.queue, step=step)

    def _validate(self, batch: Sequence[Entry]) -> tuple[list[ValidEvent], list[RefusedEvent]]:
        """Split a batch into valid events and refusals."""
        valid: list[ValidEvent] = []
        refused: list[RefusedEvent] = []
        faults = 0
        for entry in batch:
            for record in entry.records:
                try:
                    valid.append(self._valid(entry.tenant_id, record))
                except InvalidEventError as error:
                    refused.append(RefusedEvent(entry.tenant_id, record, error))
                except Exception:
                    # A bug of ours, met by this event: it must not take its neighbours along.
                    faults += 1
                    if faults <= _LOGGED_FAULTS:  # they may be thousands, all of one kind
                        log.exception(
                            "event_broke_the_code", event_id=record.event_id, tenant_id=entry.tenant_id
                        )
                    refused.append(broke_the_code(entry.tenant_id, record))
        return valid, refused

    def _valid(self, tenant_id: int, record: Record) -> ValidEvent:
        return validate(tenant_id, record, self._types, max_nesting=self._services.settings.max_nesting)

    def _account(self, stored: StoredBatch, refused: Sequence[RefusedEvent]) -> None:
        """Count and log what one transaction did, and wake the index for it."""
        now = self._services.clock()
        for valid in stored.new:
            self._metrics.observe("sspp_store_lag_seconds", (now - valid.event.received_at).total_seconds())
        self._metrics.count("sspp_events_stored_total", len(stored.new))
        self._metrics.count("sspp_signals_stored_total", sum(len(v.projection.signals) for v in stored.new))
        self._metrics.count("sspp_events_duplicate_total", stored.duplicates)
        self._metrics.count("sspp_events_conflict_total", len(stored.conflicts))
        with structlog.contextvars.bound_contextvars(batch_id=stored.batch_id):
            # A thousand entries on each of a thousand lines would be megabytes; the line of the batch has them.
            with unbound_contextvars("entries"):
                self._account_each(stored.conflicts, refused)
            traces = sorted({valid.event.trace_id for valid in stored.new if valid.event.trace_id})
            log.info(
                "batch_stored",
                stored=len(stored.new),
                duplicates=stored.duplicates,
                refused=len(refused),
                trace_ids=traces[:_NAMED_TRACES],
            )
        if stored.new:
            self._wake_index()

    def _account_each(self, conflicts: Sequence[Event], refused: Sequence[RefusedEvent]) -> None:
        for event in conflicts:
            log.warning(
                "event_conflict",
                tenant_id=event.tenant_id,
                event_id=event.event_id,
                trace_id=event.trace_id,
            )
        for one in refused:
            self._metrics.count("sspp_events_rejected_total", code=one.reason.code)
            log.warning(
                "event_rejected",
                tenant_id=one.tenant_id,
                event_id=one.record.event_id,
                trace_id=envelope_hints(one.record.raw)["trace_id"],
                code=one.reason.code,
                path=one.reason.path,
            )

    def _wake_index(self) -> None:
        """Tell the index stage. The outbox keeps the work: a lost wake-up is made good by the watchdog."""
        try:
            self._services.waker.wake("index")
        except QueueUnavailableError as error:
            log.warning("wake_up_failed", queue="index", detail=error.detail)
