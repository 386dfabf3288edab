"""POST /v1/rejected/replay sends refused events through again; POST /v1/rejected/release lets refusals be made."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from api.access.auth import Principal, requires
from api.database.fetching import fetch_one, tenant_transaction
from api.http.errors import Fault, ProblemError
from api.http.openapi import answer, problems, request_body
from api.http.parameters import parse_moment
from api.http.request_json import read_json
from api.http.responses import json_response
from api.ingest.publisher import Publisher
from api.rejected.schemas import Released, ReleaseRequest, Replayed, ReplayRequest
from common.database.queries import Queries
from common.queue.streams import Record

_CHUNK = 100  # events are up to 256 KiB each: this bounds memory, and how long rows stay locked
_MAX_BODY_BYTES = 64 * 1024

router = APIRouter(prefix="/v1/rejected", tags=["refusals"])
_sql = Queries("api.rejected", "rejections.sql")


@router.post(
    "/replay",
    summary="Replay refused events",
    responses={
        **answer(Replayed, {"replayed": 12, "more": False}),
        **problems(401, 403, 408, 413, 415, 422, 429, 503),
    },
    openapi_extra=request_body(ReplayRequest, {"code": "unknown_event_type", "limit": 500}, required=False),
)
async def replay(
    request: Request, principal: Annotated[Principal, Depends(requires("tenant_admin"))]
) -> Response:
    """Send open refusals through again, oldest first, with the `received_at` that they have.

    They are marked only once they are durable in the queue; calling again after a failure is harmless, as events
    count once. What is refused again is open again. Once the plan's events of this month are used up, by the events
    that this call has sent too, the answer is 429 `quota_exceeded`, and the others stay open.
    """
    services = request.app.state.services
    body = await read_json(request, max_bytes=_MAX_BODY_BYTES, struct=ReplayRequest, optional=True)
    wanted = body.value
    parameters = {
        "tenant_id": principal.tenant_id,
        "ids": wanted.ids,
        "code": wanted.code,
        "event_type": wanted.event_type,
        "since": _instant(wanted.since, "/since"),
        "until": _instant(wanted.until, "/until"),
    }
    replayed = 0
    while replayed < wanted.limit:
        # What is replayed may be stored, and then counts as used; what this call has sent is not counted yet.
        used = None if principal.events_used is None else principal.events_used + replayed
        services.rate_limits.check_quota(replace(principal, events_used=used))
        limit = min(_CHUNK, wanted.limit - replayed)
        count = await _replay_chunk(
            services.database, services.publisher, principal.tenant_id, {**parameters, "limit": limit}
        )
        replayed += count
        if count < limit:
            break
    left = await fetch_one(services.database, _sql.has_open, parameters)
    return json_response(Replayed(replayed, more=bool(left and left["more"])))


@router.post(
    "/release",
    summary="Release withheld refusals",
    responses={
        **answer(Released, {"events": 48210, "released_until": "2026-11-21T11:31:00Z"}),
        **problems(401, 403, 408, 413, 415, 422, 503),
    },
    openapi_extra=request_body(ReleaseRequest, {"minutes": 60}, required=False),
)
async def release(
    request: Request, principal: Annotated[Principal, Depends(requires("tenant_admin"))]
) -> Response:
    """Refuse after all what is withheld, and for some time whatever is to be refused, however much it is.

    The withheld events are tried once more; those that are valid by then are stored.
    """
    services = request.app.state.services
    body = await read_json(request, max_bytes=_MAX_BODY_BYTES, struct=ReleaseRequest, optional=True)
    duration = timedelta(minutes=body.value.minutes)
    events = await asyncio.to_thread(services.withheld.release, principal.tenant_id, duration)
    return json_response(Released(events, services.clock() + duration))


async def _replay_chunk(
    database: AsyncConnectionPool, publisher: Publisher, tenant_id: int, parameters: Mapping[str, object]
) -> int:
    """Push up to `limit` open refusals and mark them, in that order and in one transaction; how many it were."""
    async with tenant_transaction(database, tenant_id) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(_sql.take_open, parameters)
        rows = await cursor.fetchall()
        if not rows:
            return 0
        await publisher.publish(
            tenant_id, [Record(row["event_id"], row["received_at"], row["raw"].encode()) for row in rows]
        )
        ids = [row["rejection_id"] for row in rows]
        await cursor.execute(_sql.mark_replayed, {"tenant_id": tenant_id, "ids": ids})
        return len(rows)


def _instant(text: str | None, pointer: str) -> datetime | None:
    try:
        return None if text is None else parse_moment(text)
    except ValueError as error:
        raise ProblemError(
            422, "invalid_request", str(error), errors=[Fault(str(error), pointer=pointer)]
        ) from None
