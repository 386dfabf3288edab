"""The rows of a batch for binary COPY: a third of the time of text, and nothing to escape."""

from collections.abc import Iterable, Iterator
from typing import Any

from common.envelope import signal_id_bytes
from worker.validation.events import ValidEvent

# What is bytes already goes out as "bytea": a uuid, a text in UTF-8 and a jsonb have the same binary form.
EVENT_COLUMN_TYPES = (
    "bytea", "timestamptz", "int8", "int4", "text", "text", "text", "timestamptz", "text", "bytea",
)  # fmt: skip
SIGNAL_COLUMN_TYPES = (
    "bytea",
    "timestamptz",
    "int4",
    "text",
    "text",
    "text",
    "text",
    "float4",
    "timestamptz",
    "text",
    "numeric",
    "text",
    "bytea",
)
_JSONB_VERSION = b"\1"


def event_row(batch_id: int, valid: ValidEvent) -> tuple[Any, ...]:
    """The row of `valid` in events, columns as in ``copy_events`` of batch.sql."""
    event = valid.event
    return (
        event.event_key,
        event.received_at,
        batch_id,
        event.tenant_id,
        event.event_id,
        event.event_type,
        event.customer_id,
        event.occurred_at,
        event.trace_id,
        valid.raw,
    )


def signal_rows(events: Iterable[ValidEvent]) -> Iterator[tuple[Any, ...]]:
    """The rows of all signals of `events`, columns as in ``copy_signals`` of batch.sql."""
    for valid in events:
        event = valid.event
        for number, signal in enumerate(valid.projection.signals):
            yield (
                signal_id_bytes(event.event_key, number),
                event.received_at,
                event.tenant_id,
                event.event_id,
                event.event_type,
                event.customer_id,
                signal.signal_type,
                signal.score,
                event.occurred_at,
                event.trace_id,
                signal.amount,
                signal.currency,
                # The text as received, with all digits of its numbers.
                _JSONB_VERSION + valid.data,
            )
