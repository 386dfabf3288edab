"""What has to be done about one event, whoever calls it: the very work that the platform does, event by event.

Connections are made once in each process and used again, statements are prepared by the driver, and everything about
an event is in one transaction. The meaning of events, the pure part, is the platform's own.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from threading import Lock
from typing import Any
from uuid import UUID

import jsonschema_rs
import msgspec
from elasticsearch import Elasticsearch
from psycopg import Connection
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from common.envelope import event_key_bytes, parse_envelope, parse_instant, signal_id, uuid8
from common.errors import InvalidEventError
from common.search.documents import SignalRow, document
from peers import statements
from worker.domains.domain import Event, Projection
from worker.domains.sales import DOMAIN
from worker.store.customers import CustomerChange, Profile

_MAX_NESTING = 64
_SCHEMAS = {event_type.name: event_type.schema for event_type in DOMAIN.event_types}

_encode = msgspec.json.Encoder(decimal_format="number").encode
_opening = Lock()


@dataclass(frozen=True, slots=True)
class _Clients:
    """The connections of this process, which all of its threads share."""

    pool: ConnectionPool
    search: Elasticsearch


def process(raw: str, received_at: str) -> None:
    """Validate an event, store it with its signal and its effect on the customer, and index its document.

    A known event changes nothing; an invalid one is kept with its reason.

    Args:
        raw: the event's JSON, as received.
        received_at: RFC 3339.
    """
    tenant_id = int(os.environ["BENCH_TENANT_ID"])
    received = datetime.fromisoformat(received_at)
    with _opening:  # or each of a process's first threads would open its own
        clients = _clients()
    try:
        event, data = _validated(tenant_id, raw, received)
    except InvalidEventError as refusal:
        with clients.pool.connection() as connection:
            _store_refusal(connection, tenant_id, raw, received, refusal)
        return
    projection = DOMAIN.project(event)
    with clients.pool.connection() as connection:
        is_new = _store(connection, event, projection, raw, data)
    if is_new:
        for row in _signals(event, projection, data):
            made = document(row)
            clients.search.index(index=made.index, id=made.id, document=made.source)  # type: ignore[arg-type]


@cache
def _clients() -> _Clients:
    threads = int(os.environ.get("BENCH_THREADS", "1"))
    pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=threads, open=True)
    return _Clients(pool, Elasticsearch(os.environ["ELASTICSEARCH_URL"]))


@cache
def _validator(event_type: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(dict(_SCHEMAS[event_type]), validate_formats=True)


def _validated(tenant_id: int, raw: str, received: datetime) -> tuple[Event, str]:
    """The event, and its data as received."""
    envelope = parse_envelope(raw.encode(), max_nesting=_MAX_NESTING)
    text = bytes(envelope.data).decode()
    data = json.loads(text)
    if envelope.event_id is None or envelope.event_type not in _SCHEMAS:
        raise InvalidEventError("unknown_event_type", f"there is no event type {envelope.event_type!r}")
    if error := next(_validator(envelope.event_type).iter_errors(data), None):
        raise InvalidEventError("schema_violation", error.message)
    event = Event(
        tenant_id=tenant_id,
        event_key=event_key_bytes(tenant_id, envelope.event_id),
        event_id=envelope.event_id,
        event_type=envelope.event_type,
        customer_id=envelope.customer_id,
        occurred_at=parse_instant(envelope.occurred_at) if envelope.occurred_at else received,
        received_at=received,
        trace_id=envelope.trace_id,
        data=data,
    )
    return event, text


def _store(connection: Connection, event: Event, projection: Projection, raw: str, data: str) -> bool:
    """Whether the event was new."""
    identity = (UUID(bytes=event.event_key), event.tenant_id, event.received_at)
    if connection.execute(statements.INSERT_KEY, identity).rowcount == 0:
        return False
    connection.execute(
        statements.INSERT_EVENT,
        (
            identity[0],
            event.received_at,
            event.tenant_id,
            event.event_id,
            event.event_type,
            event.customer_id,
            event.occurred_at,
            event.trace_id,
            raw,
        ),
    )
    for row in _signals(event, projection, data):
        connection.execute(
            statements.INSERT_SIGNAL,
            (
                row.signal_id,
                row.received_at,
                row.tenant_id,
                row.event_id,
                row.event_type,
                row.customer_id,
                row.signal_type,
                row.signal_score,
                row.occurred_at,
                row.trace_id,
                row.amount,
                row.currency,
                Jsonb(row.data, dumps=str),
            ),
        )
    _update_customer(connection, event, projection)
    return True


def _update_customer(connection: Connection, event: Event, projection: Projection) -> None:
    change = CustomerChange(event.occurred_at, event.occurred_at)
    change.add(event, projection)
    customer = (event.tenant_id, event.customer_id)
    connection.execute(
        statements.UPSERT_CUSTOMER,
        (
            *customer,
            change.first_seen,
            change.last_seen,
            change.signal_count,
            _jsonb(change.counts),
            _jsonb(change.signal_counts),
            _jsonb(change.totals),
            change.heat,
        ),
    )
    if change.profile_changes:
        row = connection.execute(statements.SELECT_PROFILE, customer).fetchone()
        assert row is not None
        profile = Profile(*row)
        profile.apply(change.profile_changes)
        connection.execute(
            statements.UPDATE_PROFILE,
            (
                profile.name,
                profile.email,
                profile.phone,
                _jsonb(profile.custom_fields),
                _jsonb(profile.tags),
                _jsonb(profile.versions),
                *customer,
            ),
        )


def _store_refusal(
    connection: Connection, tenant_id: int, raw: str, received: datetime, refusal: InvalidEventError
) -> None:
    hints = json.loads(raw)
    connection.execute(
        statements.INSERT_REFUSAL,
        (
            # The same refusal again is one row.
            uuid8(hashlib.blake2b(raw.encode(), digest_size=16).digest()),
            tenant_id,
            hints.get("event_id", ""),
            hints.get("event_type", ""),
            hints.get("customer_id", ""),
            hints.get("trace_id"),
            received,
            refusal.code,
            refusal.detail,
            refusal.path,
            raw,
        ),
    )


def _signals(event: Event, projection: Projection, data: str) -> list[SignalRow]:
    return [
        SignalRow(
            tenant_id=event.tenant_id,
            signal_id=str(signal_id(UUID(bytes=event.event_key), number)),
            event_id=event.event_id,
            event_type=event.event_type,
            customer_id=event.customer_id,
            signal_type=str(signal.signal_type),
            signal_score=signal.score,
            occurred_at=event.occurred_at,
            received_at=event.received_at,
            trace_id=event.trace_id,
            amount=signal.amount,
            currency=signal.currency,
            data=data,
        )
        for number, signal in enumerate(projection.signals)
    ]


def _jsonb(value: Any) -> Jsonb:
    return Jsonb(value, dumps=_encode)
