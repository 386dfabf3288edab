"""What is stored of a customer since an instant, added up as it was stored, whatever today's rules make of it."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Any

import structlog
from psycopg import Cursor

from common.database.ddl import Connection
from common.database.queries import Queries
from common.errors import InvalidEventError
from common.event_types.signal_type import SignalType
from common.queue.streams import Record
from worker.domains.domain import Event, Projection, Signal
from worker.domains.sales.projection import revenue
from worker.erasure.progress import Erasure
from worker.store.candidates import CustomerChanges
from worker.store.customers import customer_changes
from worker.validation.events import EventTypes, validate

_READ_ROWS = 500
_MOST_NESTING = 64  # what was stored passed the limit of its time
_PLATFORM = 0

_sql = Queries("worker.erasure", "erasure.sql")
log = structlog.get_logger(__name__)


def changes_since(connection: Connection, erasure: Erasure, types: EventTypes) -> CustomerChanges:
    """What the customer's row has of what was received after the erasure, or after a later one of the same customer.

    Within the caller's transaction. Counts, totals and heat follow from the signals as they are stored, also those of
    types that have changed or gone since. What a profile shows is in the events alone, of the platform's types.

    Returns:
        The customer's change; nothing if nothing was received.
    """
    row = connection.execute(_sql.find_erased_at, erasure.customer).fetchone()
    assert row is not None
    since = erasure.customer | {"erased_at": row[0]}
    return customer_changes(chain(_signals(connection, since), _profile_changes(connection, since, types)))


def _signals(connection: Connection, since: dict[str, Any]) -> Iterator[tuple[Event, Projection]]:
    cursor: Cursor[Any]
    with connection.cursor("later_signals") as cursor:
        cursor.itersize = _READ_ROWS
        for row in cursor.execute(_sql.list_later_signals, since):
            event_type, occurred_at, received_at, signal_type, score, amount, currency = row
            signal = Signal(SignalType(signal_type), score, amount, currency, revenue(event_type, amount))
            yield _event(since, event_type, occurred_at, received_at), Projection((signal,))


def _profile_changes(
    connection: Connection, since: dict[str, Any], types: EventTypes
) -> Iterator[tuple[Event, Projection]]:
    cursor: Cursor[Any]
    with connection.cursor("later_events") as cursor:
        cursor.itersize = _READ_ROWS
        for row in cursor.execute(_sql.list_later_events, since):
            event_key, event_id, event_type, occurred_at, received_at, raw = row
            profile = None
            if types.find(_PLATFORM, event_type):
                profile = _profile(since["tenant_id"], Record(event_id, received_at, raw.encode()), types)
            event = _event(since, event_type, occurred_at, received_at, event_key)
            yield event, Projection(profile=profile)


def _profile(tenant_id: int, record: Record, types: EventTypes) -> Mapping[str, Any] | None:
    try:
        return validate(tenant_id, record, types, max_nesting=_MOST_NESTING).projection.profile
    except InvalidEventError as error:
        log.error("stored_event_is_invalid", tenant_id=tenant_id, code=error.code)  # noqa: TRY400
        return None


def _event(
    since: dict[str, Any],
    event_type: str,
    occurred_at: datetime,
    received_at: datetime,
    event_key: bytes = b"",
) -> Event:
    """As much of an event as counts for its customer."""
    return Event(
        tenant_id=since["tenant_id"],
        event_key=event_key,
        event_id="",
        event_type=event_type,
        customer_id=since["customer_id"],
        occurred_at=occurred_at,
        received_at=received_at,
        trace_id=None,
        data={},
    )
