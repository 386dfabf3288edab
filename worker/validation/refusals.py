"""Events that cannot be stored as such: kept with their reason, to be mended and sent through again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from common.envelope import MAX_ID_CHARACTERS, uuid8
from common.errors import InvalidEventError
from common.queue.streams import Record
from worker.validation.violations import SchemaViolationError


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """A record that cannot be stored as an event, and why."""

    tenant_id: int
    record: Record
    reason: InvalidEventError


def broke_the_code(tenant_id: int, record: Record) -> RefusedEvent:
    """The refusal of an event that met a bug of ours."""
    reason = InvalidEventError(
        "processing_failed", "the platform failed on this event; replay it once that is mended"
    )
    return RefusedEvent(tenant_id, record, reason)


def refusal_rows(refused: Sequence[RefusedEvent]) -> dict[str, list[Any]]:
    """The columns of ``upsert_rejected_events`` in store/batch.sql."""
    # One row per refusal id, the youngest: what was sent again since must not go with what is too old to keep.
    by_age = sorted(refused, key=lambda one: one.record.received_at)
    # Sorted: the same refusals in two batches lock in one order.
    rows = dict(sorted({rejection_id(one.tenant_id, one.record): one for one in by_age}.items()))
    hints = [envelope_hints(one.record.raw) for one in rows.values()]
    return {
        "rejection_ids": list(rows),
        "tenant_ids": [one.tenant_id for one in rows.values()],
        "event_ids": [one.record.event_id for one in rows.values()],
        "event_types": [hint["event_type"] or "" for hint in hints],
        "customer_ids": [hint["customer_id"] or "" for hint in hints],
        "trace_ids": [hint["trace_id"] for hint in hints],
        "received_ats": [one.record.received_at for one in rows.values()],
        "codes": [one.reason.code for one in rows.values()],
        "details": [_storable(one.reason.detail) for one in rows.values()],
        "paths": [_storable(one.reason.path) for one in rows.values()],
        # The API lets nothing through that is not UTF-8; should anything get past it, the refusal must not fail.
        "raws": [_storable(one.record.raw.decode(errors="backslashreplace")) for one in rows.values()],
        **_violation_columns([one.reason for one in rows.values()]),
    }


def _violation_columns(reasons: Sequence[InvalidEventError]) -> dict[str, list[Any]]:
    """What was violated; all of it None where it was no schema."""
    violations = [each if isinstance(each, SchemaViolationError) else None for each in reasons]
    return {
        "versions": [each and each.version for each in violations],
        "places": [each and each.place for each in violations],
        "keywords": [each and each.keyword for each in violations],
    }


def rejection_id(tenant_id: int, record: Record) -> UUID:
    """The identity of a refusal: the same text under the same id is refused once, however often it comes."""
    digest = hashlib.blake2b(digest_size=16, salt=tenant_id.to_bytes(16))
    digest.update(record.event_id.encode() + b"\0" + record.raw)
    return uuid8(digest.digest())


def envelope_hints(raw: bytes) -> dict[str, str | None]:
    """What of a refused event's envelope can be told, for finding it again."""
    try:
        parsed = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        parsed = {}
    hints: dict[str, str | None] = {}
    for name in ("event_type", "customer_id", "trace_id"):
        try:
            hints[name] = _storable(msgspec.json.decode(parsed[name], type=str))[:MAX_ID_CHARACTERS]
        except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
            hints[name] = None
    return hints


def _storable(text: str) -> str:
    return text.replace("\0", "\\u0000")
