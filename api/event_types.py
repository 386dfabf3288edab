"""GET /v1/event-types: what events may look like."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from msgspec import Raw

from api.auth import Principal, requires
from api.cursors import decode_cursor
from api.database import Row, fetch_all
from api.openapi import answer, problems
from api.parameters import PageQuery, check_query_text
from api.responses import cut_page, json_response
from api.schemas import EventType, EventTypePage
from common.database.queries import Queries

_EXAMPLE = {
    "name": "purchase",
    "version": 1,
    "description": "A customer bought something.",
    "owner": "platform",
    "signal_type": None,
    "signal_score": None,
    "schema": {"type": "object", "required": ["amount", "currency"]},
}

router = APIRouter(prefix="/v1/event-types", tags=["event types"], dependencies=[Depends(check_query_text)])
_sql = Queries("api", "event_types.sql")


@router.get(
    "",
    summary="List event types",
    responses={
        **answer(EventTypePage, {"items": [_EXAMPLE], "next_cursor": None}),
        **problems(401, 403, 422, 503),
    },
)
async def list_event_types(
    request: Request,
    query: Annotated[PageQuery, Query()],
    principal: Annotated[Principal, Depends(requires("read"))],
) -> Response:
    """The platform's event types and the tenant's own, by name and version, with their JSON Schemas."""
    scope = ["event-types", principal.tenant_id]
    after_type, after_tenant, after_version = (
        decode_cursor(query.cursor, scope, tuple[str, int, int]) if query.cursor else (None, None, None)
    )
    rows = await fetch_all(
        request.app.state.services.database,
        _sql.list_event_types,
        {
            "tenant_id": principal.tenant_id,
            "after_type": after_type,
            "after_tenant": after_tenant,
            "after_version": after_version,
            "limit": query.limit + 1,
        },
    )
    page, next_cursor = cut_page(
        rows, query.limit, scope, lambda row: (row["event_type"], row["tenant_id"], row["version"])
    )
    return json_response(EventTypePage([_event_type(row) for row in page], next_cursor))


def _event_type(row: Row) -> EventType:
    return EventType(
        name=row["event_type"],
        version=row["version"],
        description=row["description"],
        owner="tenant" if row["tenant_id"] else "platform",
        signal_type=row["signal_type"],
        signal_score=row["signal_score"],
        schema=Raw(row["schema"]),
    )
