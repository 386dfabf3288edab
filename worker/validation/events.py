"""From raw record to valid event: the envelope again, what the stores can hold, and the type's JSON Schema."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec
import structlog

from common.envelope import Envelope, event_key_bytes, parse_envelope_but_instant, parse_instant
from common.errors import InvalidEventError
from common.event_types.effort import Effort
from common.event_types.errors import InvalidSchemaError
from common.event_types.limits import (
    collected_errors,
    compile_schema,
    find_effort,
    surely_checked_bytes,
)
from common.event_types.signal_type import SignalType
from common.queue.streams import Record
from common.storable import parse_storable
from worker.domains.custom import project_custom
from worker.domains.domain import Domain, Event, EventType, Projection
from worker.validation.fitting import KnownType, check_data

_decode_stored = msgspec.json.Decoder(Envelope).decode
_decode_object = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode

log = structlog.get_logger(__name__)


class TenantType(NamedTuple):
    """A row of event_types that a tenant registered for itself."""

    tenant_id: int
    event_type: str
    version: int
    schema: Mapping[str, Any]
    signal_type: str | None
    signal_score: float | None


class ValidEvent(msgspec.Struct, frozen=True):
    """A valid event, what it means, and its texts as received, in UTF-8: the whole and its data."""

    event: Event
    projection: Projection
    raw: bytes
    data: bytes

    @property
    def customer(self) -> tuple[int, str]:
        """Its customer's identity: tenant and customer id."""
        return (self.event.tenant_id, self.event.customer_id)


class EventTypes:
    """All event types that a worker knows: the platform's own, and the tenants' as last told."""

    def __init__(self, domains: Iterable[Domain]) -> None:
        self._platform: dict[str, KnownType] = {}
        self._tenants: dict[tuple[int, str], KnownType | None] = {}
        self.tenant_types: list[TenantType] = []  # as last told
        # What was made of which rows, None where that failed: rows seldom change between two looks.
        self._seen: dict[tuple[int, str], tuple[list[TenantType], KnownType | None]] = {}
        for domain in domains:
            for name, versions in _by_name(domain.event_types).items():
                self._platform[name] = _platform_type(versions, domain.project)

    def replace_tenant_types(self, rows: Iterable[TenantType]) -> None:
        """Take over the tenants' own types; what is not among `rows` is forgotten.

        A version that cannot be used, as its schema does not compile for instance, is left out and logged: its events
        are refused and can be replayed, and nobody else notices.
        """
        self.tenant_types = list(rows)
        versions: dict[tuple[int, str], list[TenantType]] = {}
        for row in self.tenant_types:
            versions.setdefault((row.tenant_id, row.event_type), []).append(row)
        self._tenants = {key: self._compiled(key, rows_of_type) for key, rows_of_type in versions.items()}
        self._seen = {key: self._seen[key] for key in versions}

    def _compiled(self, key: tuple[int, str], rows: list[TenantType]) -> KnownType | None:
        seen_rows, found = self._seen.get(key, (None, None))
        if seen_rows != rows:
            found = _tenant_type(rows)
            self._seen[key] = (rows, found)
        return found

    def find(self, tenant_id: int, name: str) -> KnownType | None:
        """The type of that name, as `tenant_id` sees it; the platform's go first."""
        return self._platform.get(name) or self._tenants.get((tenant_id, name))


def validate(tenant_id: int, record: Record, types: EventTypes, *, max_nesting: int) -> ValidEvent:
    """Turn a raw record into a valid event with its meaning. Pure: the same record gives an equal result.

    Raises:
        InvalidEventError: with the codes of `parse_envelope`, or ``unknown_event_type``, ``schema_violation``,
            ``too_laborious`` or those of `parse_storable`.
    """
    envelope = parse_envelope_but_instant(record.raw, max_nesting=max_nesting)
    occurred_at = record.received_at if envelope.occurred_at is None else parse_instant(envelope.occurred_at)
    text = bytes(envelope.data)
    data = parse_storable(text)
    known = types.find(tenant_id, envelope.event_type)
    if known is None:
        raise InvalidEventError(
            "unknown_event_type",
            f"there is no event type {envelope.event_type!r}; GET /v1/event-types lists those that exist",
            "/event_type",
        )
    check_data(known, data, text)
    event = Event(
        tenant_id=tenant_id,
        event_key=event_key_bytes(tenant_id, record.event_id),
        event_id=record.event_id,
        event_type=envelope.event_type,
        customer_id=envelope.customer_id,
        occurred_at=occurred_at,
        received_at=record.received_at,
        trace_id=envelope.trace_id,
        data=data,
    )
    return ValidEvent(event, known.project(event), record.raw, text)


def same_content(one: bytes, other: bytes) -> bool:
    """Whether two raw events under one id say the same, however they are written. Never raises.

    An `occurred_at` that either leaves out is no difference, nor is anything outside the envelope's fields.
    """
    if one == other:
        return True
    try:
        left, right = (_decode_stored(raw) for raw in (one, other))
        return _content(left) == _content(right) and (
            left.occurred_at is None
            or right.occurred_at is None
            or parse_instant(left.occurred_at) == parse_instant(right.occurred_at)
        )
    except (InvalidEventError, ArithmeticError, ValueError):
        # Stored under rules of another time: it is not known to say the same.
        return False


def _content(envelope: Envelope) -> tuple[str, str, str | None, dict[str, Any]]:
    data = _decode_object(envelope.data)
    return envelope.event_type, envelope.customer_id, envelope.trace_id, data


def _by_name(event_types: Iterable[EventType]) -> dict[str, list[EventType]]:
    versions: dict[str, list[EventType]] = {}
    for event_type in event_types:
        versions.setdefault(event_type.name, []).append(event_type)
    return versions


def _platform_type(versions: Iterable[EventType], project: Callable[[Event], Projection]) -> KnownType:
    newest, *older = sorted(versions, key=lambda event_type: -event_type.version)
    validators = tuple(compile_schema(event_type.schema) for event_type in (newest, *older))
    return KnownType(newest.version, validators, collected_errors(newest.schema), project)


def _tenant_type(rows: Sequence[TenantType]) -> KnownType | None:
    usable: list[tuple[TenantType, jsonschema_rs.Draft202012Validator, Effort]] = []
    for row in sorted(rows, key=lambda row: -row.version):
        try:
            usable.append((row, compile_schema(row.schema), find_effort(row.schema)))
        except InvalidSchemaError as error:
            log.error(  # noqa: TRY400  # the message says it all, and the trace would quote the schema
                "event_type_unusable",
                tenant_id=row.tenant_id,
                event_type=row.event_type,
                version=row.version,
                detail=error.detail,
            )
    if not usable:
        return None
    sorted_rows, validators, efforts = zip(*usable, strict=True)
    newest = sorted_rows[0]
    return KnownType(
        newest.version,
        validators,
        collected_errors(newest.schema),
        _custom_projection(newest),
        efforts,
        surely_checked_bytes(efforts),
    )


def _custom_projection(row: TenantType) -> Callable[[Event], Projection]:
    signal_type = SignalType(row.signal_type) if row.signal_type else SignalType.ENGAGEMENT
    score = 0.5 if row.signal_score is None else row.signal_score
    return lambda event: project_custom(event, signal_type, score)
