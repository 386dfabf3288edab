"""GET /v1/event-types: what events may look like, and what they looked like that were refused for it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from msgspec import Raw

from api.access.auth import Principal
from api.access.principals import Reader
from api.database.fetching import Row, fetch_one
from api.database.pages import fetch_page
from api.event_types.schemas import (
    EventType,
    EventTypePage,
    SchemaViolation,
    SchemaViolationPage,
    ViolationSample,
)
from api.http.cursors import Serial
from api.http.errors import ProblemError, not_found
from api.http.openapi import answer, page_answer, problems
from api.http.parameters import PageQuery, check_query_text
from api.http.responses import json_response
from common.database.queries import Queries

EXAMPLE: dict[str, Any] = {
    "name": "store_visited",
    "version": 1,
    "status": "active",
    "description": "A customer came into one of our stores.",
    "owner": "tenant",
    "signal_type": "engagement",
    "signal_score": 0.4,
    "created_at": "2026-11-21T10:30:00Z",
    "schema": {"type": "object", "properties": {"store": {"type": "string"}}, "required": ["store"]},
}
_VIOLATION_EXAMPLE = {
    "version": 1,
    "path": "/data/store",
    "keyword": "required",
    "events": 12,
    "first_at": "2026-11-21T10:31:00.187Z",
    "last_at": "2026-11-21T11:02:04.412Z",
    "sample": {
        "rejection_id": "7a8c1b7e-2f64-8d0a-9b0c-1f2e3d4c5b6a",
        "event_id": "visit-1002",
        "detail": '"store" is a required property',
    },
}

Name = Annotated[str, Path(pattern="^[a-z][a-z0-9_.]{0,99}$", examples=["store_visited"])]
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]

router = APIRouter(prefix="/v1/event-types", tags=["event types"], dependencies=[Depends(check_query_text)])
_sql = Queries("api.event_types", "event_types.sql")


@router.get(
    "",
    summary="List event types",
    responses={**page_answer(EventTypePage, EXAMPLE), **problems(401, 403, 422, 503)},
)
async def list_event_types(
    request: Request, query: Annotated[PageQuery, Query()], principal: Reader
) -> Response:
    """The platform's event types and the tenant's own, by name and version, with their JSON Schemas."""
    return json_response(await _page(request, query, principal, None))


@router.get(
    "/{name}",
    summary="List the versions of an event type",
    responses={**page_answer(EventTypePage, EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def list_versions(
    request: Request, name: Name, query: Annotated[PageQuery, Query()], principal: Reader
) -> Response:
    """All versions, the first one first, with their JSON Schemas."""
    page = await _page(request, query, principal, name)
    if not page.items and query.cursor is None:
        raise _no_type()
    return json_response(page)


@router.get(
    "/{name}/versions/{version}",
    summary="Get a version of an event type",
    responses={**answer(EventType, EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def get_version(request: Request, name: Name, version: Version, principal: Reader) -> Response:
    """Its JSON Schema, which never changes, and its status, which may."""
    row = await fetch_one(
        request.app.state.services.database,
        _sql.find_version,
        {"tenant_id": principal.tenant_id, "event_type": name, "version": version},
    )
    if row is None:
        raise no_version()
    return json_response(_event_type(row))


@router.get(
    "/{name}/violations",
    summary="List what events of a type violate",
    responses={**page_answer(SchemaViolationPage, _VIOLATION_EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def list_violations(
    request: Request, name: Name, query: Annotated[PageQuery, Query()], principal: Reader
) -> Response:
    """Refusals with the code `schema_violation`, counted: of the newest version first, then by path and keyword.

    Each refused event counts for what its schema says first. Sent again, it counts again if it was replayed, or if the
    reason has changed. What has not been violated for as long as events are kept is deleted.
    """
    database = request.app.state.services.database
    scope = ["violations", principal.tenant_id, name]
    wanted = {"tenant_id": principal.tenant_id, "event_type": name}
    page, next_cursor = await fetch_page(
        database,
        _sql.list_violations,
        wanted,
        query,
        scope,
        tuple[Serial, str, str],
        after_version="version",
        after_path="path",
        after_keyword="keyword",
    )
    if not page and await fetch_one(database, _sql.find_type, wanted) is None:
        raise _no_type()
    return json_response(SchemaViolationPage([_violation(row) for row in page], next_cursor))


def no_version() -> ProblemError:
    """The 404 for a version that the tenant does not have."""
    return not_found("no event type of this name has this version")


async def _page(request: Request, query: PageQuery, principal: Principal, name: str | None) -> EventTypePage:
    scope = ["event-types", principal.tenant_id, name]
    page, next_cursor = await fetch_page(
        request.app.state.services.database,
        _sql.list_event_types,
        {"tenant_id": principal.tenant_id, "event_type": name},
        query,
        scope,
        tuple[str, bool, Serial],
        after_type="event_type",
        after_own="own",
        after_version="version",
    )
    return EventTypePage([_event_type(row) for row in page], next_cursor)


def _event_type(row: Row) -> EventType:
    own, name, schema = row.pop("own"), row.pop("event_type"), row.pop("schema")
    return EventType(name=name, owner="tenant" if own else "platform", schema=Raw(schema), **row)


def _violation(row: Row) -> SchemaViolation:
    rejection_id, event_id, detail = (row.pop(name) for name in ("rejection_id", "event_id", "detail"))
    sample = None
    if rejection_id is not None:
        sample = ViolationSample(rejection_id=rejection_id, event_id=event_id, detail=detail)
    return SchemaViolation(sample=sample, **row)


def _no_type() -> ProblemError:
    return not_found("there is no event type of this name")
