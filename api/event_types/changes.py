"""PUT /v1/event-types/{name} and PATCH of a version: a tenant's own event types, and what becomes of their versions."""

from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import UNSET, Raw

from api.access.principals import Administrator
from api.database.management import management_of
from api.event_types.listing import EXAMPLE, Name, Version, no_version
from api.event_types.schemas import EventType, EventTypeChange, EventTypeDefinition
from api.http.errors import Fault, ProblemError
from api.http.openapi import answer, problems, request_body
from api.http.parameters import check_query_text
from api.http.request_json import read_json
from api.http.responses import json_response
from common.event_types.errors import (
    EventTypeError,
    IncompatibleSchemaError,
    InvalidSchemaError,
    UnknownEventTypeError,
)
from common.event_types.limits import MOST_BYTES
from common.event_types.registry import Definition, StoredEventType, parse_schema, put_type, set_status

# The schema may come with white space and escapes that it is stored without.
_MAX_BODY_BYTES = 2 * MOST_BYTES
_DEFINITION_EXAMPLE: dict[str, Any] = {
    "schema": EXAMPLE["schema"],
    "description": EXAMPLE["description"],
    "signal_type": "engagement",
    "signal_score": 0.4,
}

router = APIRouter(prefix="/v1/event-types", tags=["event types"], dependencies=[Depends(check_query_text)])
_encode = msgspec.json.Encoder().encode


@router.put(
    "/{name}",
    summary="Register an event type, or its next version",
    responses={
        **answer(EventType, EXAMPLE, description="The current version says the same already."),
        **answer(EventType, EXAMPLE, status=201, description="A new version."),
        **problems(401, 403, 408, 409, 413, 415, 422, 503),
    },
    openapi_extra=request_body(EventTypeDefinition, _DEFINITION_EXAMPLE),
)
async def put_event_type(request: Request, name: Name, principal: Administrator) -> Response:
    """An event type of the tenant's own, known to the workers within seconds.

    A version never changes; what differs is a new one. If that may refuse `data` that the current version accepts, the
    answer is 409 `incompatible_schema`, with a reason for each place in `errors`; `"compatibility": "none"` takes it
    nevertheless. The older versions go on accepting events until they are retired. What was refused before comes in by
    `POST /v1/rejected/replay`.
    """
    wanted = (await read_json(request, max_bytes=_MAX_BODY_BYTES, struct=EventTypeDefinition)).value
    try:
        schema = parse_schema(bytes(wanted.schema), "/schema")
        description = str(schema.get("description", ""))
        definition = Definition(
            schema,
            description if wanted.description is UNSET else wanted.description,
            wanted.signal_type,
            wanted.signal_score,
        )
        stored, is_new = await management_of(request).change_event_types(
            principal.tenant_id, put_type, principal.tenant, name, definition, wanted.compatibility
        )
    except EventTypeError as error:
        raise _problem(error) from None
    response = json_response(_shown(stored), status=201 if is_new else 200)
    if is_new:
        response.headers["Location"] = f"/v1/event-types/{name}/versions/{stored.version}"
    return response


@router.patch(
    "/{name}/versions/{version}",
    summary="Deprecate or retire a version of an event type",
    responses={**answer(EventType, EXAMPLE), **problems(401, 403, 404, 408, 409, 413, 415, 422, 503)},
    openapi_extra=request_body(EventTypeChange, {"status": "deprecated"}),
)
async def change_version(
    request: Request, name: Name, version: Version, principal: Administrator
) -> Response:
    """`deprecated` asks senders to move on, and refuses nothing. A `retired` version accepts nothing any more.

    What it had accepted stays. `active` makes it as it was.
    """
    wanted = (await read_json(request, max_bytes=_MAX_BODY_BYTES, struct=EventTypeChange)).value
    try:
        stored = await management_of(request).change_event_types(
            principal.tenant_id, set_status, principal.tenant, name, version, wanted.status
        )
    except EventTypeError as error:
        raise _problem(error) from None
    return json_response(_shown(stored))


def _problem(error: EventTypeError) -> ProblemError:
    match error:
        case InvalidSchemaError():
            fault = Fault(error.detail, pointer=f"/schema{error.path}")
            return ProblemError(422, error.code, error.detail, errors=[fault])
        case IncompatibleSchemaError():
            faults = [Fault(each.detail, pointer=f"/schema{each.path}") for each in error.found]
            return ProblemError(409, error.code, error.detail, errors=faults)
        case UnknownEventTypeError():
            return no_version()
        case _:
            return ProblemError(409, error.code, error.detail)


def _shown(stored: StoredEventType) -> EventType:
    return EventType(
        name=stored.event_type,
        version=stored.version,
        status=stored.status,
        description=stored.description,
        owner="tenant",
        signal_type=stored.signal_type,
        signal_score=stored.signal_score,
        created_at=stored.created_at,
        schema=Raw(_encode(stored.schema)),
    )
