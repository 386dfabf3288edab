"""The index stage: what PostgreSQL stored becomes findable in Elasticsearch, batch by batch of the outbox."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime

from elasticsearch import ApiError, Elasticsearch
from psycopg import Connection
from psycopg_pool import ConnectionPool

from common.clock import Clock
from common.database.connections import translated_errors
from common.errors import SearchUnavailableError
from common.metrics import Metrics
from common.search.bulk import BulkOutcome, write_documents
from common.search.documents import Document
from common.search.failures import forget_failures, record_failures
from common.search.generations import share_generations, transaction_check
from common.search.indices import Router
from common.settings import Settings
from common.tracing.sources import OUTBOX
from common.tracing.tracing import NO_TRACING, Tracing
from worker.index.marks import IndexMarks, Sighting
from worker.index.orphans import account_for_missing, remove_orphans_of
from worker.index.outbox import (
    OutboxRow,
    due_signals,
    lock_due_rows,
    mark_indexed,
    put_off,
    read_signals,
    trace_contexts,
)
from worker.index.refill import refill_outbox
from worker.index.refresher import Refresher
from worker.index.report import report_batch

_POLL_SECONDS = 0.05
_GATHER_SECONDS = 0.02
# A batch of fewer took all that was due: else it ends at SSPP_BATCH_EVENTS signals or at 500 rows (outbox.sql).
_TRICKLE_SIGNALS = 500
_LOOK_SECONDS = 1.0  # how often a stage without work asks whether the server lost something


class IndexStage:
    """Works off the outbox: reads the signals, writes their documents, marks the rows.

    One transaction holds the rows' locks from the reading to the marking, so any number of stages share the
    outbox without meeting, and what a killed one held is free as soon as its connection drops. Writing again
    what was written but not marked changes nothing. A document that Elasticsearch refuses for its content is
    recorded in ``index_failures`` and holds up nothing. One that it could not take yet puts its row off, for as
    long as that lasts, while other rows go on.
    """

    queue = "index"

    def __init__(
        self,
        pool: ConnectionPool,
        client: Elasticsearch,
        metrics: Metrics,
        settings: Settings,
        clock: Clock,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._pool = pool
        self._client = client
        self._metrics = metrics
        self._batch_signals = settings.batch_events
        self._clock = clock
        self._tracing = tracing
        self._refresher = Refresher(client)
        # Whether the next documents may be there already, written by a request that got no answer or by a stage that
        # died before it marked them.
        self._unsure = True
        # What a transaction was about that has failed since its documents began to be written: none for sure.
        self._doubtful: list[OutboxRow] = []
        self._marks = IndexMarks(client, metrics, settings)
        self._next_look = 0.0
        self._refilling = True  # perhaps

    def step(self, wait_seconds: float) -> int:
        """Index one batch of outbox rows, about SSPP_BATCH_EVENTS signals; wait for one if there is none.

        Returns:
            The number of signals handled, those put off included; 0 if no row was free and due within
            `wait_seconds`.

        Raises:
            SearchUnavailableError: Elasticsearch is away as a whole, or refuses what has to come first, such as
                making an index. What it took is marked, nothing is put off.
            DatabaseUnavailableError: PostgreSQL is away or busy; nothing is marked.
        """
        deadline = time.monotonic() + wait_seconds
        with translated_errors(), _refusals_waited_for(), self._pool.connection() as connection:
            with suppress(SearchUnavailableError):  # the next step tries again
                self._settle_doubts(connection)
            while True:
                handled = self._index_batch(connection) or self._look_back(connection)
                left = deadline - time.monotonic()
                if handled:
                    if handled < min(_TRICKLE_SIGNALS, self._batch_signals):
                        # A batch costs several requests, however small: a trickle is let gather, to leave the machine
                        # to those who wait for their answers.
                        time.sleep(_GATHER_SECONDS)
                    self._refresher.note_work()
                    return handled
                self._refresher.refresh_at_pause()
                if left <= 0:
                    return 0
                time.sleep(min(left, _POLL_SECONDS))

    def rescue(self, live: set[str]) -> int:  # noqa: ARG002 - part of the stage protocol
        """Return 0: the locks of a dead stage are gone with its connection, there is nothing to take over."""
        return 0

    def backlog(self) -> int:
        """About how many signals are due, counted over at most 1,000 outbox rows; 0 only if none is.

        What is put off is not due: ending drains would otherwise wake each other without a pause.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away or busy.
        """
        with translated_errors(), self._pool.connection() as connection:
            return due_signals(connection)

    def finish(self) -> int:
        """Return 0: nothing is taken between two steps."""
        return 0

    def close(self) -> None:
        """Make what was written visible to searches.

        Raises:
            SearchUnavailableError: Elasticsearch is away; it refreshes when it is back.
            DatabaseUnavailableError: PostgreSQL is away or busy.
        """
        with _refusals_waited_for():
            self._refresher.refresh()
        if self._doubtful:
            with translated_errors(), self._pool.connection() as connection:
                self._settle_doubts(connection)

    def _index_batch(self, connection: Connection) -> int:
        with ExitStack() as span:
            return self._index_within(span, connection)

    def _index_within(self, span: ExitStack, connection: Connection) -> int:
        """Index a batch, within a span that begins once it is known whose events they are."""
        with connection.transaction():
            rows = lock_due_rows(connection, self._batch_signals)
            if not rows:
                return 0
            if self._tracing.is_on:
                contexts = trace_contexts(connection, rows)
                signals = sum(len(row.signal_ids) for row in rows)
                span.enter_context(self._tracing.processing(OUTBOX, contexts, signals))
            seen = self._marks.look(connection)
            if seen.losses:
                return self._resend(connection, seen)
            # Only now that the rows are locked, so that a rebuild of the index misses none of their signals.
            generations = share_generations(connection)
            router = Router(self._client, generations)
            received_at: dict[str, datetime] = {}
            # Closed at once, whatever happens: its cursor must not outlive the transaction.
            batch = self._documents(connection, rows, router, received_at)
            with self._timed("write"), closing(batch) as documents:
                likely_there = self._unsure or generations.rebuilding() or any(row.is_resent for row in rows)
                # Without the nodes' word, only a document that is written shows a loss to the next look.
                skip_present = bool(seen.nodes and likely_there)
                self._unsure = True
                doubtful = self._doubtful
                self._doubtful = [*doubtful, *rows]
                check = transaction_check(connection)
                outcome = write_documents(self._client, documents, skip_present=skip_present, check=check)
            self._unsure = outcome.away is not None
            self._refresher.note_written(len(outcome.ok))
            account_for_missing(connection, self._client, rows, received_at, outcome)
            settled = outcome.retry.keys().isdisjoint
            confirmed = self._marks.confirm(connection, seen, outcome.written)
            done = [row for row in rows if confirmed and settled(row.signal_ids)]
            with self._timed("mark"):
                self._mark(connection, rows, done, outcome)
                if not outcome.away:
                    put_off(connection, [row for row in rows if not settled(row.signal_ids)])
        self._doubtful = doubtful
        report_batch(self._metrics, rows, done, outcome, received_at, self._clock())
        if outcome.away:
            status, reason = outcome.away
            raise SearchUnavailableError(
                f"Elasticsearch did not take {len(outcome.retry)} documents"
                f" ({reason if status is None else f'{status}: {reason}'}); they are sent again"
            )
        return sum(max(1, len(row.signal_ids)) for row in rows)

    def _look_back(self, connection: Connection) -> int:
        """With nothing new to index: see to what the server lost; returns how much that adds to the outbox."""
        if self._refilling:
            with connection.transaction():
                added = refill_outbox(connection, self._metrics, most_signals=self._batch_signals)
            self._refilling = added > 0
            if added:
                return added
        if time.monotonic() < self._next_look:
            return 0
        self._next_look = time.monotonic() + _LOOK_SECONDS
        try:
            with connection.transaction():
                seen = self._marks.look(connection)
                self._refilling = seen.refilling
                return self._resend(connection, seen) if seen.losses else 0
        except SearchUnavailableError:
            return 0  # nothing waits for it

    def _resend(self, connection: Connection, seen: Sighting) -> int:
        self._refilling = True
        return max(1, self._marks.resend(connection, seen))

    def _documents(
        self,
        connection: Connection,
        rows: Sequence[OutboxRow],
        router: Router,
        received_at: dict[str, datetime],
    ) -> Generator[Document, None, None]:
        """Yield the documents of the rows' signals that still exist, and note when each was received."""
        with closing(read_signals(connection, rows)) as signals:
            for signal in signals:
                received_at[signal.signal_id] = signal.received_at
                yield from router.documents(signal)

    def _settle_doubts(self, connection: Connection) -> None:
        """Delete what a failed transaction wrote whose signals went meanwhile: nobody waited for it any more."""
        if self._doubtful:
            with _refusals_waited_for(), connection.transaction():
                remove_orphans_of(connection, self._client, self._doubtful)
            self._doubtful = []

    def _mark(
        self,
        connection: Connection,
        rows: Sequence[OutboxRow],
        done: Sequence[OutboxRow],
        outcome: BulkOutcome,
    ) -> None:
        mark_indexed(connection, done)
        forget_failures(connection, outcome.ok, (row.tenant_id for row in rows))
        tenants = {signal_id: row.tenant_id for row in rows for signal_id in row.signal_ids}
        record_failures(connection, outcome.refused, tenants)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self._metrics.observe("sspp_stage_duration_seconds", seconds, stage=self.queue, step=step)


@contextmanager
def _refusals_waited_for() -> Iterator[None]:
    """Raise it as `SearchUnavailableError` if Elasticsearch refuses a request for good: somebody has to mend it."""
    try:
        yield
    except ApiError as error:
        raise SearchUnavailableError(
            f"Elasticsearch refuses what the index needs: {error.meta.status} {error.error}"
        ) from error
