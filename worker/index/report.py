"""What a batch of the index stage tells those who watch: metrics and log lines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog

from common.metrics import Metrics
from common.search.bulk import BulkOutcome
from worker.index.outbox import OutboxRow

log = structlog.get_logger(__name__)


def report_batch(
    metrics: Metrics,
    rows: Sequence[OutboxRow],
    done: Sequence[OutboxRow],
    outcome: BulkOutcome,
    received_at: Mapping[str, datetime],
    now: datetime,
) -> None:
    """Count and log what became of `rows`, of which `done` are marked; `received_at` has the signals they still had."""
    resent = {signal_id for row in rows if row.is_resent for signal_id in row.signal_ids}
    # Those that are sent again were found once already.
    received = Counter(received_at[signal_id] for signal_id in outcome.ok - resent)
    for instant, signals in received.items():
        metrics.observe("sspp_index_lag_seconds", (now - instant).total_seconds(), times=signals)
    metrics.count("sspp_signals_indexed_total", len(outcome.ok))
    metrics.count("sspp_index_failures_total", len(outcome.refused))
    metrics.observe("sspp_batch_size", len(received_at), stage="index")
    if done:
        batch_ids = sorted({row.batch_id for row in done})
        log.info("batch_indexed", batch_ids=batch_ids, signals=len(outcome.ok))
    if outcome.refused:
        # Reasons may quote what people wrote: they stay in index_failures.
        log.error("documents_refused", count=len(outcome.refused), examples=sorted(outcome.refused)[:5])
    if outcome.retry and not outcome.away:
        metrics.count("sspp_documents_put_off_total", len(outcome.retry))
        statuses = Counter(str(failure.status) for failure in outcome.retry.values())
        log.warning("documents_put_off", count=len(outcome.retry), statuses=dict(statuses))
