"""The ingest stage: from the lanes of Redis into PostgreSQL."""

import math
import time
from collections.abc import Sequence

import structlog

from common.errors import InvalidEventError, QueueUnavailableError
from common.services import Services
from common.streams import Entry, LaneConsumer, Record, depth
from worker.batch_size import ReadSize, next_batch
from worker.isolation import FaultLimit, RefusalsWithheldError, store_isolating
from worker.refusals import RefusedEvent, envelope_hints
from worker.store import Store, StoredBatch
from worker.validation import EventTypes, ValidEvent, validate

_TYPES_FRESH_SECONDS = 5.0
_NAMED_TRACES = 20

log = structlog.get_logger(__name__)


class IngestStage:
    """Takes record batches from the lanes, stores what is new in them, and acknowledges them.

    One stage serves one drain: the entries that it took stay under its name until they are stored. `types` and
    `faults` outlive it and belong to the process.
    """

    queue = "ingest"

    def __init__(
        self, name: str, services: Services, *, store: Store, types: EventTypes, faults: FaultLimit
    ) -> None:
        self._services = services
        self._metrics = services.metrics
        self._consumer = LaneConsumer(services.redis, name)
        self._store = store
        self._types = types
        self._types_loaded = -math.inf
        self._faults = faults
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
        try:
            self._process(batch)
        except RefusalsWithheldError:
            self._metrics.count("sspp_refusals_withheld_total")
            raise
        self._consumer.acknowledge(batch)
        del self._held[: len(batch)]
        return sum(len(entry.records) for entry in batch)

    def rescue(self, live: set[str]) -> int:
        """Take over about a batch from drains that are gone; see `common.drain.Stage`."""
        if self._held:
            return 0
        self._held = self._consumer.claim_orphans(live, self._services.settings.batch_events)
        self._metrics.count("sspp_entries_claimed_total", len(self._held))
        return sum(len(entry.records) for entry in self._held)

    def backlog(self) -> int:
        """Events in the lanes, those in work included."""
        return sum(depth(self._services.redis).values())

    def close(self) -> None:
        """Leave the consumer group; entries still held are taken over by the next drain."""
        self._consumer.leave()

    def _refresh_types(self) -> None:
        """Learn of the event types that tenants registered, at most some seconds late."""
        if time.monotonic() - self._types_loaded >= _TYPES_FRESH_SECONDS:
            self._types.replace_tenant_types(self._store.tenant_types())
            self._types_loaded = time.monotonic()

    def _process(self, batch: Sequence[Entry]) -> None:
        started = time.perf_counter()
        valid, refused = self._validate(batch)
        validated = time.perf_counter()
        entries = [f"{entry.lane}/{entry.entry_id.decode()}" for entry in batch]
        # The entries link these lines to those of the API, which name the requests that brought them.
        with structlog.contextvars.bound_contextvars(entries=entries):
            for stored, also_refused in store_isolating(self._store, valid, refused, self._faults):
                self._account(stored, also_refused)
        finished = time.perf_counter()
        self._observe("validate", validated - started)
        self._observe("store", finished - validated)
        self._metrics.observe("sspp_batch_size", len(valid) + len(refused), stage=self.queue)

    def _observe(self, step: str, seconds: float) -> None:
        self._metrics.observe("sspp_stage_duration_seconds", seconds, stage=self.queue, step=step)

    def _validate(self, batch: Sequence[Entry]) -> tuple[list[ValidEvent], list[RefusedEvent]]:
        """Split a batch into valid events and refusals.

        Raises:
            RefusalsWithheldError: so many break our code that the code is the suspect.
        """
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
                    log.exception("event_broke_the_code", event_id=record.event_id, tenant_id=entry.tenant_id)
                    faults += 1
                    reason = InvalidEventError(
                        "processing_failed",
                        "the platform failed on this event; replay it once that is mended",
                    )
                    refused.append(RefusedEvent(entry.tenant_id, record, reason))
        self._faults.admit(faults, len(valid) + len(refused))
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
            for event in stored.conflicts:
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

    def _wake_index(self) -> None:
        """Tell the index stage. The outbox keeps the work: a lost wake-up is made good by the watchdog."""
        try:
            self._services.waker.wake("index")
        except QueueUnavailableError as error:
            log.warning("wake_up_failed", queue="index", detail=error.detail)
