"""The ingest stage: from the lanes of Redis into PostgreSQL."""

import math
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context

import structlog

from common.errors import QueueUnavailableError
from common.queue.lane_consumer import LaneConsumer
from common.queue.streams import LANES, Entry, depth
from common.queue.withheld import WithheldEvents, WithheldPart
from common.services import Services
from common.tracing.contexts import unpack_contexts
from common.tracing.sources import INGEST
from worker.ingest.accounting import account, count_dropped
from worker.ingest.batch_size import MOST_BYTES, ReadSize, next_batch
from worker.ingest.guard import RefusalGuard
from worker.ingest.isolation import store_isolating
from worker.ingest.preparation import PreparedBatch, prepare
from worker.ingest.quiet_tenants import QuietTenants
from worker.ingest.withholding import BatchRefusals
from worker.store.batch import Store, StoredBatch
from worker.store.candidates import Candidates
from worker.store.tombstones import Reason
from worker.validation.events import EventTypes
from worker.validation.refusals import RefusedEvent

_TYPES_FRESH_SECONDS = 5.0

log = structlog.get_logger(__name__)


class IngestStage:
    """Takes record batches from the lanes, stores what is new in them, and acknowledges them.

    While PostgreSQL works on one batch, the next is read and prepared in a thread, as long as batches come full.
    Tenants that have little waiting pass those that have much (`worker.ingest.quiet_tenants`).

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
        self._read_size = ReadSize(services.settings.batch_events)
        self._held: list[Entry] = []  # taken, but not prepared yet
        self._prepared: deque[PreparedBatch] = deque()
        self._quiet = QuietTenants()
        self._quiet_ones_passed = False
        self._hands_are_wanted = False  # by `rescue`
        self._takes_no_more = False  # before what is in hand is stored
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._consumer.create_groups()

    def step(self, wait_seconds: float) -> int:
        """Store the next batch; see `common.drain.Stage`."""
        if not self._prepared:
            self._prepare_next(wait_seconds)
            if not self._prepared:
                return 0
        self._let_quiet_ones_pass()
        batch = self._prepared[0]
        ahead = None
        if self._is_worth_preparing(batch):
            # With this thread's context, which tells the log who speaks.
            ahead = self._ahead.submit(copy_context().run, self._prepare_next, 0)
        contexts = unpack_contexts(entry.traces for entry in batch.entries)
        try:
            with self._services.tracing.processing(INGEST, contexts, batch.size):
                self._process(batch)
        finally:
            if ahead:
                # Whatever went wrong there, the next step meets it again.
                wait([ahead])
        self._prepared.popleft()
        return batch.size

    def rescue(self, live: set[str]) -> int | None:
        """Take over about a batch from drains that are gone; see `common.drain.Stage`."""
        if self._held or self._prepared:
            self._hands_are_wanted = True
            return None  # memory is bounded by holding one read's worth at a time
        self._hands_are_wanted = self._takes_no_more = False
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
            self._hands_are_wanted = self._takes_no_more = True
            return None  # there may be more of them, and each comes alone
        return sum(len(entry.records) for entry in self._held)

    def backlog(self) -> int:
        """Events in the lanes, those in work included, but not those that nobody may take yet."""
        return max(0, sum(depth(self._services.redis).values()) - self._consumer.pausing_events)

    def finish(self) -> int:
        """Store what is held; see `common.drain.Stage`."""
        self._hands_are_wanted = self._takes_no_more = True
        handled = 0
        while self._held or self._prepared:
            handled += self.step(0)
        return handled

    def close(self) -> None:
        """Leave the consumer group; entries still held are taken over by the next drain."""
        self._ahead.shutdown()
        self._consumer.leave()

    def _is_worth_preparing(self, batch: PreparedBatch) -> bool:
        """Whether to prepare the batch after `batch` while that is stored: if there is one, and nothing is in doubt."""
        if self._hands_are_wanted or len(self._prepared) > 1:
            return False
        is_full = 2 * batch.size >= self._services.settings.batch_events
        return bool(self._held) or (is_full and not self._consumer.reply_was_lost)

    def _prepare_next(self, wait_seconds: float) -> None:
        """Prepare one more batch, if anything is held or comes within `wait_seconds`."""
        if not self._held:
            self._held = self._consumer.read(self._read_size.entries_of_a_lane, wait_seconds)
            self._read_size.follow(self._held)
        if self._held:
            self._prepared.append(self._prepare_held())

    def _let_quiet_ones_pass(self) -> None:
        """Prepare what quiet tenants have sent meanwhile, to be stored before the batch of busy ones that is next."""
        next_is_busy = self._prepared[0].entries[0].is_busy
        if (
            self._takes_no_more
            or self._consumer.reply_was_lost
            or not (next_is_busy and self._quiet.give_way)
        ):
            return
        if self._quiet_ones_passed:  # in turns: the busy ones have to get on, too
            self._quiet_ones_passed = False
            return
        if not self._held or self._held[0].is_busy:
            found = self._consumer.read(
                self._read_size.entries_of_a_lane, None, most_bytes=MOST_BYTES, streams=LANES
            )
            self._held = [*found, *self._held]
        if self._held and not self._held[0].is_busy:
            self._prepared.appendleft(self._prepare_held())
            self._quiet_ones_passed = True

    def _prepare_held(self) -> PreparedBatch:
        """A batch of the first entries that are held."""
        settings = self._services.settings
        self._quiet.note(self._held)
        stretch, most_events = self._quiet.next_stretch(self._held, settings.batch_events)
        entries = next_batch(stretch, most_events=most_events)
        self._refresh_types()
        started = time.perf_counter()
        batch = prepare(entries, self._types, max_nesting=settings.max_nesting)
        self._observe("prepare", time.perf_counter() - started)
        del self._held[: len(entries)]
        return batch

    def _refresh_types(self) -> None:
        """Learn of the event types that tenants registered, at most some seconds late."""
        if time.monotonic() - self._types_loaded >= _TYPES_FRESH_SECONDS:
            self._types.replace_tenant_types(self._store.tenant_types(self._types.tenant_types))
            self._types_loaded = time.monotonic()

    def _process(self, batch: PreparedBatch) -> None:
        refusals = BatchRefusals(batch.entries, self._guard, self._withheld)
        entries = [f"{entry.lane}/{entry.entry_id.decode()}" for entry in batch.entries]
        # The entries link these lines to those of the API, which name the requests that brought them.
        with structlog.contextvars.bound_contextvars(entries=entries):
            started = time.perf_counter()
            # Before they may be withheld, which no transaction of the store sees.
            refused, dropped = self._store.without_dropped(batch.refused)
            dropped += self._store_all(batch.candidates, refusals.admit(refused), refusals)
            self._observe("store", time.perf_counter() - started)
            self._metrics.observe("sspp_batch_size", batch.size, stage=self.queue)
            parts = refusals.parts()
            self._put_away(batch.entries, parts)
            refusals.settle(parts)
            count_dropped(dropped, self._metrics)
        self._bring_more_back(batch.entries, parts)

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

    def _store_all(
        self, candidates: Candidates, refused: Sequence[RefusedEvent], refusals: BatchRefusals
    ) -> Counter[Reason]:
        """Store a batch; returns how many events that broke it must not be kept even as refusals, by the reason."""
        guilty: list[RefusedEvent] = []
        for stored, also_refused in store_isolating(self._store, candidates, refused, guilty):
            self._account(stored, also_refused)
        # All at once, so that the guard sees how many they are before the first is refused.
        broken, dropped = self._store.without_dropped(guilty)
        if broken and (admitted := refusals.admit(broken)):
            for stored, also_refused in store_isolating(self._store, Candidates([]), admitted, guilty):
                self._account(stored, also_refused)
        return dropped

    def _observe(self, step: str, seconds: float) -> None:
        self._metrics.observe("sspp_stage_duration_seconds", seconds, stage=self.queue, step=step)

    def _account(self, stored: StoredBatch, refused: Sequence[RefusedEvent]) -> None:
        """Count and log what one transaction did, and wake the index for it."""
        account(stored, refused, self._metrics, self._services.clock())
        if stored.new:
            self._wake_index()

    def _wake_index(self) -> None:
        """Tell the index stage. The outbox keeps the work: a lost wake-up is made good by the watchdog."""
        try:
            self._services.waker.wake("index")
        except QueueUnavailableError as error:
            log.warning("wake_up_failed", queue="index", detail=error.detail)
