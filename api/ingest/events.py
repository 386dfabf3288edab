"""POST /v1/events: 202 means that every accepted event is on disk."""

import asyncio
from typing import Annotated

import msgspec
import structlog
from fastapi import APIRouter, Depends, Request, Response

from api.access.auth import Principal, authorize, requires
from api.access.cors import check_origin
from api.http.body import JSON_TYPES, NDJSON_TYPES, announced_bytes, split_events
from api.http.body_budget import BodyLease
from api.http.direct_routes import DirectRoute
from api.http.errors import ProblemError
from api.http.openapi import answer, problems
from api.ingest.schemas import RECEIPT_EXAMPLE, REQUEST_BODY, Receipt, Refusal
from api.people.profiles import PROFILE_CHANGE, PUBLISHABLE_REFUSED
from common.envelope import new_event_id, parse_envelope
from common.errors import InvalidEventError
from common.queue.streams import Record
from common.settings import Settings

_CHECKED_AT_ONCE = 500
_EVENT_OVERHEAD_BYTES = 256  # what Python needs for an event's id, instant and text beside the text itself

router = APIRouter(tags=["events"])
log = structlog.get_logger(__name__)


@router.post(
    "/v1/events",
    status_code=202,
    summary="Send events",
    responses={
        **answer(
            Receipt,
            RECEIPT_EXAMPLE,
            status=202,
        ),
        **problems(401, 403, 408, 413, 415, 422, 429, 503),
    },
    openapi_extra=REQUEST_BODY,
)
async def post_events(
    request: Request, principal: Annotated[Principal, Depends(requires("ingest", check_origin))]
) -> Response:
    """Accept one event, a JSON array of events, or NDJSON; plain or gzip.

    202 once all valid events are durable; invalid ones are listed by their index. An event is stored once per
    `event_id`, however often it is sent: on any doubt, send it again.
    """
    services = request.app.state.services
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in JSON_TYPES | NDJSON_TYPES:
        raise ProblemError(
            415,
            "unsupported_media_type",
            f"send application/json or application/x-ndjson, not {media_type or 'a body without Content-Type'}",
            headers={"Accept-Post": "application/json, application/x-ndjson"},
        )
    # Before the body is read: what is turned away now costs next to nothing.
    services.rate_limits.check_quota(principal)
    announced = announced_bytes(request.headers, services.settings.max_body_bytes)
    services.admission.check(principal.tenant_id, announced)
    with services.bodies.lease() as lease:
        return await _accept(request, principal, media_type, lease)


async def _post_events(request: Request) -> Response:
    return await post_events(request, await authorize(request, "ingest", check=check_origin))


DIRECT_ROUTE = DirectRoute("POST", "/v1/events", _post_events)
"""The same without FastAPI in between, which costs more per request than all else."""


async def _accept(request: Request, principal: Principal, media_type: str, lease: BodyLease) -> Response:
    services = request.app.state.services
    settings: Settings = services.settings
    texts, single = split_events(
        await lease.read(request, max_bytes=settings.max_body_bytes),
        media_type,
        max_events=settings.max_request_events,
    )
    if not texts:
        raise ProblemError(422, "empty_request", "the body holds no event")
    await services.rate_limits.admit_events(request.scope, principal, len(texts))
    lease.hold(_EVENT_OVERHEAD_BYTES * len(texts))

    received_at = services.clock()
    records, refusals = [], []
    for index, text in enumerate(texts):
        if index % _CHECKED_AT_ONCE == _CHECKED_AT_ONCE - 1:
            await asyncio.sleep(0)  # ten thousand events take a while; others must get their turn
        try:
            event_id = _check(text, settings, principal)
        except InvalidEventError as error:
            refusals.append(Refusal(index, error.code, error.detail, error.path))
            services.metrics.count("sspp_events_refused_total", code=error.code)
        else:
            records.append(Record(event_id, received_at, text))
    if not records:
        raise _all_refused(refusals, single=single)

    await services.publisher.publish(principal.tenant_id, records)
    if refusals:
        log.info(
            "events_refused", tenant_id=principal.tenant_id, refused=len(refusals), first=refusals[0].code
        )

    minimal = "return=minimal" in request.headers.get("prefer", "").replace(" ", "").lower()
    receipt = Receipt(
        len(records), refusals, msgspec.UNSET if minimal else [record.event_id for record in records]
    )
    return Response(
        msgspec.json.encode(receipt),
        status_code=202,
        media_type="application/json",
        headers={"Preference-Applied": "return=minimal"} if minimal else None,
    )


def _check(text: bytes, settings: Settings, principal: Principal) -> str:
    """The event's id, made up where it brings none.

    Raises:
        InvalidEventError: as `parse_envelope`, or with code ``event_too_large`` or ``secret_key_required``.
    """
    if len(text) > settings.max_event_bytes:
        raise InvalidEventError(
            "event_too_large",
            f"the event has {len(text)} bytes; at most {settings.max_event_bytes} are allowed",
        )
    envelope = parse_envelope(text, max_nesting=settings.max_nesting)
    if principal.publishable and envelope.event_type == PROFILE_CHANGE:
        raise InvalidEventError(
            PUBLISHABLE_REFUSED, f"with a publishable key no {PROFILE_CHANGE} can be sent", "/event_type"
        )
    return envelope.event_id if envelope.event_id is not None else new_event_id()


def _all_refused(refusals: list[Refusal], *, single: bool) -> ProblemError:
    rejected = msgspec.to_builtins(refusals)
    if single:
        status = 413 if refusals[0].code == "event_too_large" else 422
        return ProblemError(status, refusals[0].code, refusals[0].detail, rejected=rejected)
    return ProblemError(
        422, "all_events_refused", "none of the events can be accepted; see rejected", rejected=rejected
    )
