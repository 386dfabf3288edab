"""PATCH /v1/customers/{customer_id}: a change of the profile is an event like any other."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from api.access.auth import Principal, requires
from api.http.errors import Fault, ProblemError
from api.http.openapi import answer, problems, request_body
from api.http.parameters import CustomerId
from api.http.request_json import MERGE_PATCH, read_json
from api.http.responses import json_response
from api.people.schemas import Accepted, ProfileUpdate
from common.clock import rfc3339
from common.envelope import new_event_id, parse_envelope
from common.queue.streams import Record
from common.storable import parse_storable

PROFILE_CHANGE = "customer_updated"
PUBLISHABLE_REFUSED = "secret_key_required"
"""The code of what a publishable key, which everybody may know, is refused: it adds events, and changes no profile."""

router = APIRouter(prefix="/v1/customers", tags=["customers"])
_encode = msgspec.json.Encoder().encode


def _check_secret(_request: Request, principal: Principal) -> None:
    if principal.publishable:
        raise ProblemError(
            403, PUBLISHABLE_REFUSED, "a publishable key sends events; profiles are changed with a secret one"
        )


@router.patch(
    "/{customer_id:path}",
    status_code=202,
    summary="Change a customer's profile",
    responses={
        **answer(
            Accepted,
            {"event_id": "019aa5c0-7b1e-7c11-9d0f-6a7ce2d1f3b4"},
            status=202,
            description="Durable; it is applied in a moment.",
        ),
        **problems(401, 403, 408, 413, 415, 422, 429, 503),
    },
    openapi_extra=request_body(
        ProfileUpdate,
        {"email": "ada@example.com", "tags": ["vip"], "custom_fields": {"segment": None}},
        "application/json",
        MERGE_PATCH,
    ),
)
async def patch_customer(
    request: Request,
    customer_id: CustomerId,
    principal: Annotated[Principal, Depends(requires("ingest", _check_secret))],
) -> Response:
    """Set name, e-mail, phone, custom fields or tags; null clears, what is left out stays.

    Goes in as a `customer_updated` event that occurs now: it shows once the event is stored, also for a
    customer that did not exist. Of two changes of one field the later wins.
    """
    services = request.app.state.services
    settings = services.settings
    body = await read_json(request, MERGE_PATCH, max_bytes=settings.max_event_bytes, struct=ProfileUpdate)
    if body.value == ProfileUpdate():
        detail = "nothing to change: name at least one field"
        raise ProblemError(422, "invalid_request", detail, errors=[Fault(detail, pointer="")])
    now = services.clock()
    event_id = new_event_id()
    raw = _encode(
        {
            "event_id": event_id,
            "event_type": PROFILE_CHANGE,
            "customer_id": customer_id,
            "occurred_at": rfc3339(now),
            "data": msgspec.Raw(body.text),
        }
    )
    parse_envelope(raw, max_nesting=settings.max_nesting)
    # What the workers would refuse is better said at once, and where in this body it stands.
    parse_storable(body.text, "")
    await services.rate_limits.admit_events(request.scope, principal, 1)
    await services.publisher.publish(principal.tenant_id, [Record(event_id, now, raw)])
    return json_response(Accepted(event_id), status=202)
