"""What became of events, for the metrics and the log."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice

import structlog

from common.logging import unbound_contextvars
from common.metrics import Metrics
from worker.domains.domain import Event
from worker.store.batch import StoredBatch
from worker.store.tombstones import Reason
from worker.validation.refusals import RefusedEvent, envelope_hints

_NAMED_TRACES = 20

log = structlog.get_logger(__name__)


def account(stored: StoredBatch, refused: Sequence[RefusedEvent], metrics: Metrics, now: datetime) -> None:
    """Count and log what one transaction stored and refused; `now` is when it was committed."""
    for received_at, events in Counter(valid.event.received_at for valid in stored.new).items():
        lag = (now - received_at).total_seconds()
        metrics.observe("sspp_store_lag_seconds", lag, times=events)
    metrics.count("sspp_events_stored_total", len(stored.new))
    metrics.count("sspp_signals_stored_total", sum(len(v.projection.signals) for v in stored.new))
    metrics.count("sspp_events_duplicate_total", stored.duplicates)
    metrics.count("sspp_events_conflict_total", len(stored.conflicts))
    count_dropped(stored.dropped, metrics)
    with structlog.contextvars.bound_contextvars(batch_id=stored.batch_id):
        # A thousand entries on each of a thousand lines would be megabytes; the line of the batch has them.
        with unbound_contextvars("entries"):
            _account_each(stored.conflicts, refused, metrics)
        traces = dict.fromkeys(valid.event.trace_id for valid in stored.new if valid.event.trace_id)
        log.info(
            "batch_stored",
            stored=len(stored.new),
            duplicates=stored.duplicates,
            refused=len(refused),
            trace_ids=list(islice(traces, _NAMED_TRACES)),
        )


def count_dropped(dropped: Mapping[Reason, int], metrics: Metrics) -> None:
    """Count events that were not kept, by the reason."""
    for reason, events in dropped.items():
        metrics.count("sspp_events_dropped_total", events, reason=reason)


def _account_each(conflicts: Sequence[Event], refused: Sequence[RefusedEvent], metrics: Metrics) -> None:
    for event in conflicts:
        log.warning(
            "event_conflict",
            tenant_id=event.tenant_id,
            event_id=event.event_id,
            trace_id=event.trace_id,
        )
    for one in refused:
        metrics.count("sspp_events_rejected_total", code=one.reason.code)
        log.warning(
            "event_rejected",
            tenant_id=one.tenant_id,
            event_id=one.record.event_id,
            trace_id=envelope_hints(one.record.raw)["trace_id"],
            code=one.reason.code,
            path=one.reason.path,
        )
