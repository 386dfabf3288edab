"""GET /v1/rejected, one by its id, and what is withheld: what was refused or would be, and why."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from msgspec import Raw
from pydantic import Field

from api.access.principals import Reader
from api.database.fetching import Row
from api.database.pages import fetch_found, fetch_page
from api.http.openapi import answer, page_answer, problems
from api.http.parameters import PeriodQuery, check_query_text
from api.http.responses import json_response
from api.rejected.schemas import Rejection, RejectionPage, Withheld, WithheldReason
from common.database.queries import Queries

_EXAMPLE: dict[str, Any] = {
    "rejection_id": "7a8c1b7e-2f64-8d0a-9b0c-1f2e3d4c5b6a",
    "event_id": "order-1002",
    "event_type": "purchase",
    "customer_id": "07592",
    "trace_id": None,
    "code": "schema_violation",
    "detail": "amount: -5 is less than the minimum of 0",
    "path": "/data/amount",
    "received_at": "2026-11-21T10:31:00.104Z",
    "rejected_at": "2026-11-21T10:31:00.187Z",
    "status": "open",
    "replayed_at": None,
    "event": {"event_id": "order-1002", "event_type": "purchase", "data": {"amount": -5, "currency": "USD"}},
}

_WITHHELD_EXAMPLE: dict[str, Any] = {
    "events": 48210,
    "oldest_received_at": "2026-11-21T10:31:00.104Z",
    "reasons": [{"code": "schema_violation", "event_type": "purchase", "events": 12800}],
    "released_until": None,
}

router = APIRouter(prefix="/v1/rejected", tags=["refusals"], dependencies=[Depends(check_query_text)])
_sql = Queries("api.rejected", "rejections.sql")


class RejectionQuery(PeriodQuery):
    """A page of refused events; the period is that of their refusal."""

    code: list[str] = Field([], description="Only refused for these reasons.")
    event_type: list[str] = Field([], description="Only of these event types.")
    status: Literal["open", "replayed"] = Field(
        "open", description="`open`: waiting for a decision. `replayed`: sent through again."
    )


@router.get(
    "",
    summary="List refused events",
    responses={**page_answer(RejectionPage, _EXAMPLE), **problems(401, 403, 422, 503)},
)
async def list_rejections(
    request: Request,
    query: Annotated[RejectionQuery, Query()],
    principal: Reader,
) -> Response:
    """Refused events, the latest refusal first."""
    codes, event_types = sorted(set(query.code)), sorted(set(query.event_type))
    scope = ["rejected", principal.tenant_id, query.status, codes, event_types, query.since, query.until]
    page, next_cursor = await fetch_page(
        request.app.state.services.database,
        _sql.list_rejections,
        {
            "tenant_id": principal.tenant_id,
            "status": query.status,
            "codes": codes or None,
            "event_types": event_types or None,
            "since": query.since,
            "until": query.until,
        },
        query,
        scope,
        tuple[datetime, UUID],
        after_at="rejected_at",
        after_id="rejection_id",
    )
    return json_response(RejectionPage([rejection(row) for row in page], next_cursor))


@router.get(
    "/withheld",
    summary="Look at withheld refusals",
    responses={**answer(Withheld, _WITHHELD_EXAMPLE), **problems(401, 403, 422, 503)},
)
async def get_withheld(request: Request, principal: Reader) -> Response:
    """When suddenly most events are to be refused, they are withheld instead: they stay queued and are tried again.

    They are stored once they are valid, and refused once `POST /v1/rejected/release` says so.
    """
    withheld = request.app.state.services.withheld
    summary = await asyncio.to_thread(withheld.summary, principal.tenant_id)
    return json_response(
        Withheld(
            events=summary.events,
            oldest_received_at=summary.oldest_received_at,
            reasons=[WithheldReason(why.code, why.event_type, events) for why, events in summary.reasons],
            released_until=summary.released_until,
        )
    )


@router.get(
    "/{rejection_id}",
    summary="Get one refused event",
    responses={**answer(Rejection, _EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def get_rejection(request: Request, rejection_id: UUID, principal: Reader) -> Response:
    """The event as received and why it was refused, whether or not it was sent through again."""
    row = await fetch_found(
        request.app.state.services.database,
        _sql.find_rejection,
        {"tenant_id": principal.tenant_id, "rejection_id": rejection_id},
        else_tell="no refused event has this id",
    )
    return json_response(rejection(row))


def rejection(row: Row) -> Rejection:
    """A row of `rejected_events` as the API shows it; takes the raw event out of `row`."""
    return Rejection(event=Raw(row.pop("raw")), **row)
