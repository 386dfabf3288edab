"""/v1/admin/plans: what the tenants of each plan may use."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from msgspec import convert, structs

from api.access.principals import Platform
from api.admin.access import MAX_BODY_BYTES, ask
from api.admin.schemas import NamedPlan, PlanLimits, PlanList
from api.http.errors import not_found
from api.http.openapi import answer, page_answer, problems, request_body
from api.http.parameters import check_query_text
from api.http.request_json import read_json
from api.http.responses import json_response
from common.tenancy import plans
from common.tenancy.tenants import PLANS

_LIMITS: dict[str, Any] = {"requests_per_second": 50, "events_per_second": 500, "monthly_events": 2_000_000}
_EXAMPLE: dict[str, Any] = {"plan": "starter", **_LIMITS}

router = APIRouter(
    prefix="/v1/admin/plans", tags=["administration"], dependencies=[Depends(check_query_text)]
)


@router.get(
    "",
    summary="List plans",
    responses={**page_answer(PlanList, _EXAMPLE), **problems(401, 403, 422, 503)},
)
async def list_plans(request: Request, principal: Platform) -> Response:
    """What each of them allows. A tenant's plan is changed with the tenant."""
    found = await ask(request, principal, plans.list_plans)
    return json_response(PlanList([convert(plan, NamedPlan, from_attributes=True) for plan in found]))


@router.put(
    "/{plan}",
    summary="Replace a plan's limits",
    responses={
        **answer(NamedPlan, _EXAMPLE),
        **problems(401, 403, 404, 408, 413, 415, 422, 503),
    },
    openapi_extra=request_body(PlanLimits, _LIMITS),
)
async def set_plan(request: Request, plan: str, principal: Platform) -> Response:
    """They hold for all tenants that have the plan, within 2 seconds."""
    if plan not in PLANS:
        raise not_found("no plan has this name")
    wanted = (await read_json(request, max_bytes=MAX_BODY_BYTES, struct=PlanLimits)).value
    changed = await ask(request, principal, plans.set_plan, plan, plans.Limits(**structs.asdict(wanted)))
    return json_response(convert(changed, NamedPlan, from_attributes=True))
