"""/v1/customers/{customer_id}/suppression: from now on nothing is stored of a customer."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.access.auth import Principal, requires
from api.database.fetching import Row, fetch_one
from api.http.errors import not_found
from api.http.openapi import answer, problems
from api.http.parameters import CustomerId, check_query_text
from api.http.responses import json_response
from api.people.schemas import Suppression
from common.customers import customer_hash
from common.database.queries import Queries

_EXAMPLE: dict[str, Any] = {"suppressed_since": "2026-11-21T10:30:00Z"}
_PATH = "/{customer_id:path}/suppression"

Administrator = Annotated[Principal, Depends(requires("tenant_admin"))]

router = APIRouter(prefix="/v1/customers", tags=["people"], dependencies=[Depends(check_query_text)])
_sql = Queries("api.people", "people.sql")


@router.put(
    _PATH,
    summary="Suppress a customer",
    responses={**answer(Suppression, _EXAMPLE), **problems(401, 403, 422, 503)},
)
async def suppress_customer(request: Request, customer_id: CustomerId, principal: Administrator) -> Response:
    """From now on, events of this customer are accepted, and dropped before they are stored.

    What is stored already stays: erase the customer as well, if that is to go. Doing so again changes nothing.
    """
    return _shown(await _ask(request, _sql.suppress, customer_id, principal))


@router.get(
    _PATH,
    summary="Look at a customer's suppression",
    responses={**answer(Suppression, _EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def get_suppression(request: Request, customer_id: CustomerId, principal: Administrator) -> Response:
    """Since when a customer is suppressed; 404 if it is not."""
    row = await _ask(request, _sql.find_suppression, customer_id, principal)
    if row is None:
        raise not_found("no suppressed customer has this id")
    return _shown(row)


@router.delete(
    _PATH,
    status_code=204,
    summary="End a customer's suppression",
    responses=problems(401, 403, 422, 503),
)
async def end_suppression(request: Request, customer_id: CustomerId, principal: Administrator) -> Response:
    """Store events of this customer again; also if it was not suppressed. What was dropped does not come back."""
    await _ask(request, _sql.end_suppression, customer_id, principal)
    return Response(status_code=204)


async def _ask(request: Request, query: Any, customer_id: str, principal: Principal) -> Row | None:
    services = request.app.state.services
    return await fetch_one(
        services.database,
        query,
        {
            "tenant_id": principal.tenant_id,
            "customer_hash": customer_hash(principal.tenant_id, customer_id),
            "now": services.clock(),
        },
    )


def _shown(row: Row | None) -> Response:
    assert row is not None
    return json_response(Suppression(row["suppressed_at"]))
