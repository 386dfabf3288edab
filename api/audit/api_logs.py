"""GET /v1/api-logs: who asked for what with this tenant's keys."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from msgspec import convert
from pydantic import Field

from api.access.principals import Administrator
from api.audit.call_log import Position
from api.audit.schemas import ApiCall, ApiCallPage
from api.database.pages import fetch_page
from api.http.openapi import page_answer, problems
from api.http.parameters import PeriodQuery, check_query_text
from api.http.responses import json_response
from common.database.queries import Queries

_EXAMPLE: dict[str, Any] = {
    "received_at": "2026-11-21T10:30:00.482Z",
    "key_prefix": "k7m2q4xw3p",
    "method": "POST",
    "route": "/v1/events",
    "target": None,
    "status": 202,
    "duration_ms": 2.4,
    "client_address": "203.0.113.7",
    "user_agent": "curl/8.5.0",
    "request_id": "019aa5c0-7b1e-7c11-9d0f-6a7ce2d1f3b4",
}

router = APIRouter(prefix="/v1/api-logs", tags=["administration"], dependencies=[Depends(check_query_text)])
_sql = Queries("api.audit", "call_log.sql")


class ApiCallQuery(PeriodQuery):
    """A page of API calls."""

    status: list[Annotated[int, Field(ge=100, le=599)]] = Field(
        [], description="Only with these HTTP statuses."
    )


@router.get(
    "",
    summary="List API calls",
    responses={**page_answer(ApiCallPage, _EXAMPLE), **problems(401, 403, 422, 503)},
)
async def list_calls(
    request: Request,
    query: Annotated[ApiCallQuery, Query()],
    principal: Administrator,
) -> Response:
    """Calls with the tenant's keys, the latest first, about a second after they were answered.

    Calls with a key that is revoked or expired are among them. Under the platform's own tenant stand its keys' calls,
    and those with no key that there ever was.
    """
    statuses = sorted(set(query.status))
    scope = ["api-logs", principal.tenant_id, statuses, query.since, query.until]
    page, next_cursor = await fetch_page(
        request.app.state.services.database,
        _sql.list_logs,
        {
            "tenant_id": principal.tenant_id,
            "statuses": statuses or None,
            "since": query.since,
            "until": query.until,
        },
        query,
        scope,
        Position,
        after_at="received_at",
        after_id="log_id",
    )
    return json_response(ApiCallPage([convert(row, ApiCall) for row in page], next_cursor))
