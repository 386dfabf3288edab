"""GET /v1/events: the raw log, and what became of each event."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from msgspec import Raw
from pydantic import Field

from api.access.principals import Reader
from api.database.fetching import Row, fetch_one
from api.database.pages import fetch_page
from api.http.errors import not_found
from api.http.openapi import answer, page_answer, problems
from api.http.parameters import EventId, PageQuery, check_query_text
from api.http.responses import json_response
from api.reading.schemas import Event, EventPage
from common.database.queries import Queries
from common.envelope import event_key

_EXAMPLE: dict[str, Any] = {
    "event_id": "order-1001",
    "event_type": "purchase",
    "customer_id": "07592",
    "status": "indexed",
    "occurred_at": "2026-11-21T10:30:00Z",
    "received_at": "2026-11-21T10:30:00.482913Z",
    "trace_id": "checkout-77",
    "signals": ["3f0c8a52-91d7-8b44-a3c1-5e7d20f19600"],
    "event": {
        "event_id": "order-1001",
        "event_type": "purchase",
        "customer_id": "07592",
        "occurred_at": "2026-11-21T10:30:00Z",
        "trace_id": "checkout-77",
        "data": {"amount": 49.90, "currency": "USD", "quantity": 2},
    },
}

router = APIRouter(prefix="/v1/events", tags=["events"], dependencies=[Depends(check_query_text)])
_sql = Queries("api.reading", "events.sql")


class TraceQuery(PageQuery):
    """A page of the events of a trace."""

    trace_id: str = Field(description="The trace.", examples=["checkout-77"])


@router.get(
    "",
    summary="List the events of a trace",
    responses={**page_answer(EventPage, _EXAMPLE), **problems(401, 403, 422, 503)},
)
async def list_events(
    request: Request,
    query: Annotated[TraceQuery, Query()],
    principal: Reader,
) -> Response:
    """The stored events of a trace, in the order in which they occurred."""
    scope = ["events", principal.tenant_id, query.trace_id]
    page, next_cursor = await fetch_page(
        request.app.state.services.database,
        _sql.list_events_of_trace,
        {"tenant_id": principal.tenant_id, "trace_id": query.trace_id},
        query,
        scope,
        tuple[datetime, UUID],
        after_at="occurred_at",
        after_key="event_key",
    )
    return json_response(EventPage([_stored(row) for row in page], next_cursor))


@router.get(
    "/{event_id:path}",
    summary="Get one event and its status",
    responses={**answer(Event, _EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def get_event(request: Request, event_id: EventId, principal: Reader) -> Response:
    """The event as received: 404 until it is stored, then `stored`, `indexed` or `rejected`."""
    database = request.app.state.services.database
    identity = {"tenant_id": principal.tenant_id, "event_id": event_id}
    row = await fetch_one(
        database, _sql.find_event, {**identity, "event_key": event_key(principal.tenant_id, event_id)}
    )
    if row is not None:
        return json_response(_stored(row))
    row = await fetch_one(database, _sql.find_rejection, identity)
    if row is None:
        raise not_found("no event with this id is stored, or not yet")
    return json_response(_rejected(row))


def _stored(row: Row) -> Event:
    return Event(
        event_id=row["event_id"],
        event_type=row["event_type"],
        customer_id=row["customer_id"],
        status=row["status"],
        occurred_at=row["occurred_at"],
        received_at=row["received_at"],
        trace_id=row["trace_id"],
        signals=row["signals"],
        event=Raw(row["raw"]),
    )


def _rejected(row: Row) -> Event:
    return Event(
        event_id=row["event_id"],
        event_type=row["event_type"],
        customer_id=row["customer_id"],
        status="rejected",
        occurred_at=None,
        received_at=row["received_at"],
        trace_id=row["trace_id"],
        signals=[],
        event=Raw(row["raw"]),
        code=row["code"],
        detail=row["detail"],
        path=row["path"],
    )
