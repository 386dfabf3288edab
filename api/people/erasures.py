"""DELETE /v1/customers/{customer_id}: a customer is erased, and /v1/erasures has the receipt."""

import uuid
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from msgspec import Raw

from api.access.principals import Administrator
from api.database.fetching import Row, fetch_one
from api.database.pages import fetch_found, fetch_page
from api.http.openapi import answer, page_answer, problems
from api.http.parameters import CustomerId, PageQuery, check_query_text
from api.http.responses import json_response
from api.people.schemas import Erasure, ErasurePage
from common.customers import customer_hash
from common.database.queries import Queries
from common.envelope import new_event_id

_EXAMPLE: dict[str, Any] = {
    "erasure_id": "019aa5c0-7b1e-7c11-9d0f-6a7ce2d1f3b4",
    "status": "done",
    "requested_at": "2026-11-21T10:30:00Z",
    "finished_at": "2026-11-21T10:30:04.218Z",
    "erased": {
        "customers": 1,
        "events": 201,
        "signals": 201,
        "documents": 201,
        "rejected_events": 2,
        "withheld_events": 0,
    },
}
_REQUESTED = _EXAMPLE | {
    "status": "pending",
    "finished_at": None,
    "erased": dict.fromkeys(_EXAMPLE["erased"], 0),
}

router = APIRouter(prefix="/v1", tags=["people"], dependencies=[Depends(check_query_text)])
_sql = Queries("api.people", "people.sql")


@router.delete(
    "/customers/{customer_id:path}",
    status_code=202,
    summary="Erase a customer",
    responses={
        **answer(Erasure, _REQUESTED, status=202, description="The receipt; the work goes on by itself."),
        **problems(401, 403, 422, 503),
    },
)
async def erase_customer(request: Request, customer_id: CustomerId, principal: Administrator) -> Response:
    """Delete all that is held of a customer and was received until now, for good, wherever it is.

    What comes later, under ids that were not there before, is of a new customer. Whether there is such a customer is
    not told. A repetition gets a receipt of its own, and is harmless.
    """
    services = request.app.state.services
    row = await fetch_one(
        services.database,
        _sql.request_erasure,
        {
            "tenant_id": principal.tenant_id,
            "customer_id": customer_id,
            "customer_hash": customer_hash(principal.tenant_id, customer_id),
            "erasure_id": uuid.UUID(new_event_id()),
            "now": services.clock(),
        },
    )
    assert row is not None
    response = json_response(_receipt(row), status=202)
    response.headers["Location"] = f"/v1/erasures/{row['erasure_id']}"
    return response


@router.get(
    "/erasures",
    summary="List erasures",
    responses={**page_answer(ErasurePage, _EXAMPLE), **problems(401, 403, 422, 503)},
)
async def list_erasures(
    request: Request, query: Annotated[PageQuery, Query()], principal: Administrator
) -> Response:
    """The receipts, the latest first. They do not say whom they are about."""
    scope = ["erasures", principal.tenant_id]
    page, next_cursor = await fetch_page(
        request.app.state.services.database,
        _sql.list_erasures,
        {"tenant_id": principal.tenant_id},
        query,
        scope,
        tuple[datetime, UUID],
        after_at="erased_at",
        after_id="erasure_id",
    )
    return json_response(ErasurePage([_receipt(row) for row in page], next_cursor))


@router.get(
    "/erasures/{erasure_id}",
    summary="Get the receipt of an erasure",
    responses={**answer(Erasure, _EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def get_erasure(request: Request, erasure_id: UUID, principal: Administrator) -> Response:
    """How far it is, and how much was erased where. It does not say whom it is about."""
    row = await fetch_found(
        request.app.state.services.database,
        _sql.find_erasure,
        {"tenant_id": principal.tenant_id, "erasure_id": erasure_id},
        else_tell="no erasure has this id",
    )
    return json_response(_receipt(row))


def _receipt(row: Row) -> Erasure:
    status = {"requested": "pending", "done": "done"}.get(row["state"], "running")
    return Erasure(
        erasure_id=row["erasure_id"],
        status=status,  # type: ignore[arg-type]  # one of the three
        requested_at=row["erased_at"],
        finished_at=row["finished_at"],
        erased=Raw(row["counts"].encode()),
    )
