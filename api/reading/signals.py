"""GET /v1/signals: what events mean, from PostgreSQL."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from msgspec import Raw

from api.access.principals import Reader
from api.database.fetching import Row
from api.database.pages import fetch_found, fetch_page
from api.http.openapi import answer, page_answer, problems
from api.http.parameters import SignalQuery, check_query_text
from api.http.responses import json_response
from api.reading.schemas import Signal, SignalPage
from common.database.queries import Queries
from common.envelope import event_key_of

EXAMPLE: dict[str, Any] = {
    "signal_id": "3f0c8a52-91d7-8b44-a3c1-5e7d20f19600",
    "event_id": "order-1001",
    "event_type": "purchase",
    "customer_id": "07592",
    "signal_type": "revenue",
    "signal_score": 0.8,
    "occurred_at": "2026-11-21T10:30:00Z",
    "received_at": "2026-11-21T10:30:00.482913Z",
    "trace_id": "checkout-77",
    "amount": "49.90",
    "currency": "USD",
    "data": {"amount": 49.90, "currency": "USD", "quantity": 2},
}

router = APIRouter(prefix="/v1/signals", tags=["signals"], dependencies=[Depends(check_query_text)])
_sql = Queries("api.reading", "signals.sql")


@router.get(
    "",
    summary="List signals",
    responses={**page_answer(SignalPage, EXAMPLE), **problems(401, 403, 422, 503)},
)
async def list_signals(
    request: Request,
    query: Annotated[SignalQuery, Query()],
    principal: Reader,
) -> Response:
    """Signals, newest `occurred_at` first. Filters combine; `event_type` and `signal_type` may be repeated."""
    scope = ["signals", principal.tenant_id, *query.scope]
    page, next_cursor = await fetch_page(
        request.app.state.services.database,
        _sql.list_signals if query.customer_id is None else _sql.list_signals_of_customer,
        {
            "tenant_id": principal.tenant_id,
            "customer_id": query.customer_id,
            "event_types": query.event_type or None,
            "signal_types": query.signal_type or None,
            "min_score": query.min_score,
            "since": query.since,
            "until": query.until,
        },
        query,
        scope,
        tuple[datetime, UUID],
        after_at="occurred_at",
        after_id="signal_id",
    )
    return json_response(SignalPage([signal(row) for row in page], next_cursor))


@router.get(
    "/{signal_id}",
    summary="Get one signal",
    responses={**answer(Signal, EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def get_signal(
    request: Request,
    signal_id: Annotated[UUID, Path(examples=[EXAMPLE["signal_id"]])],
    principal: Reader,
) -> Response:
    """One signal, by its id."""
    row = await fetch_found(
        request.app.state.services.database,
        _sql.find_signal,
        {
            "tenant_id": principal.tenant_id,
            "signal_id": signal_id,
            "event_key": event_key_of(signal_id),
        },
        else_tell="no signal has this id",
    )
    return json_response(signal(row))


def signal(row: Row) -> Signal:
    """The signal in a row of `signals`."""
    return Signal(**{**row, "data": Raw(row["data"])})
