"""GET /v1/usage: what a tenant may use, and what it has used."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.access.auth import Principal, requires
from api.database.fetching import fetch_all
from api.http.openapi import answer, problems
from api.http.parameters import check_query_text
from api.http.responses import json_response
from api.reading.schemas import MonthUsage, Usage
from common.tenancy.usage import LIST_USAGE

_MONTHS = 24
_EXAMPLE: dict[str, Any] = {
    "plan": "starter",
    "requests_per_second": 50,
    "events_per_second": 500,
    "monthly_events": 2_000_000,
    "months": [{"month": "2026-11", "events": 1_204_311}, {"month": "2026-10", "events": 1_871_040}],
}

router = APIRouter(prefix="/v1/usage", tags=["administration"], dependencies=[Depends(check_query_text)])


@router.get(
    "",
    summary="Look at plan and usage",
    responses={**answer(Usage, _EXAMPLE), **problems(401, 403, 422, 503)},
)
async def get_usage(request: Request, principal: Annotated[Principal, Depends(requires("read"))]) -> Response:
    """The limits of the tenant's plan, and its new events by the month (UTC) of their arrival, the last one first.

    Events count when they are stored, once each. Refused ones and repetitions do not.
    """
    rows = await fetch_all(
        request.app.state.services.database,
        LIST_USAGE,
        {"tenant_id": principal.tenant_id, "limit": _MONTHS},
    )
    months = [MonthUsage(row["month"].strftime("%Y-%m"), row["events"]) for row in rows]
    return json_response(Usage(plan=principal.plan, **asdict(principal.limits), months=months))
