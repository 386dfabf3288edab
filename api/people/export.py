"""GET /v1/customers/{customer_id}/export: all that is held of a customer, as a stream of lines."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import LiteralString

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Raw
from psycopg_pool import AsyncConnectionPool

from api.access.principals import Administrator
from api.database.fetching import Row, fetch_all, fetch_one
from api.http.errors import not_found
from api.http.openapi import problems
from api.http.parameters import CustomerId, check_query_text
from api.people.schemas import ExportedEvent, ExportEnd, ExportLine, Suppression, WithheldEvent
from api.reading.customers import shown_customer
from api.reading.signals import signal
from api.rejected.rejections import rejection
from common.clock import Clock
from common.customers import customer_hash
from common.database.queries import Queries
from common.queue.streams import Record
from common.queue.withheld_records import WithheldRecords

NDJSON = "application/x-ndjson"
_PAGE = 200  # of up to 256 KiB each
_LOG_PAGE = 20_000  # events of all tenants, of which a customer has few
_EXAMPLE = """\
{"kind":"customer","item":{"customer_id":"07592","name":"Ada Lovelace"}}
{"kind":"signal","item":{"signal_id":"5f0c8a52-91d7-8b44-a3c1-5e7d20f19600","event_id":"order-1001"}}
{"kind":"event","item":{"event_id":"order-1001","event_type":"purchase"}}
{"kind":"end","item":{"lines":3}}
"""

_Line = tuple[str, object]

router = APIRouter(prefix="/v1/customers", tags=["people"], dependencies=[Depends(check_query_text)])
_sql = Queries("api.people", "export.sql")
_customers_sql = Queries("api.reading", "customers.sql")
_signals_sql = Queries("api.reading", "signals.sql")
_people_sql = Queries("api.people", "people.sql")
_encode = msgspec.json.Encoder().encode


@router.get(
    "/{customer_id:path}/export",
    summary="Export a customer's data",
    response_class=Response,
    responses={
        200: {
            "description": "One JSON object a line: `kind`, and the `item` as other calls show it. The last line is of"
            " the kind `end`; without it, the export was cut off.",
            "content": {NDJSON: {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        **problems(401, 403, 404, 422, 503),
    },
)
async def export_customer(
    request: Request,
    customer_id: CustomerId,
    principal: Administrator,
) -> Response:
    """Everything that is held of a customer: profile and totals, signals, refused and withheld events, and the log.

    Read page by page while it is sent: what arrives or goes meanwhile may be in it or not. What is still queued is not.
    The log of events is looked through as a whole, which takes some seconds for each million of them.
    """
    services = request.app.state.services
    lines = _lines(
        services.database, services.withheld_records, services.clock, principal.tenant_id, customer_id
    )
    first = await anext(lines, None)
    if first is None:
        raise not_found("no customer has this id")
    return StreamingResponse(
        _encoded(first, lines),
        media_type=NDJSON,
        headers={"Content-Disposition": 'attachment; filename="export.ndjson"'},
    )


async def _encoded(first: _Line, lines: AsyncIterator[_Line]) -> AsyncIterator[bytes]:
    yield _line(first)
    count = 1
    async for line in lines:
        yield _line(line)
        count += 1
    yield _line(("end", ExportEnd(count)))


def _line(line: _Line) -> bytes:
    kind, item = line
    return _encode(ExportLine(kind, item)) + b"\n"  # type: ignore[arg-type]  # one of the kinds


async def _lines(
    database: AsyncConnectionPool,
    withheld_records: WithheldRecords,
    clock: Clock,
    tenant_id: int,
    customer_id: str,
) -> AsyncIterator[_Line]:
    """All that is held; nothing if there is none. The log comes last: only of a known customer it is looked through."""
    asked = {"tenant_id": tenant_id, "customer_id": customer_id}
    known = False
    if row := await fetch_one(database, _customers_sql.find_customer, asked):
        known = True
        yield "customer", shown_customer(row, clock)
    suppressed = {**asked, "customer_hash": customer_hash(tenant_id, customer_id)}
    if row := await fetch_one(database, _people_sql.find_suppression, suppressed):
        yield "suppression", Suppression(row["suppressed_at"])

    def page_of(statement: LiteralString, **more: object) -> Callable[..., Awaitable[list[Row]]]:
        return lambda after_at, after_id: fetch_all(
            database, statement, {**asked, **more, "after_at": after_at, "after_id": after_id}
        )

    timeline = page_of(_signals_sql.list_timeline, since=None, until=None, limit=_PAGE)
    async for row in _walk(timeline, "occurred_at", "signal_id"):
        known = True
        yield "signal", signal(row)
    async for row in _walk(
        page_of(_sql.list_rejections_of_customer, limit=_PAGE), "rejected_at", "rejection_id"
    ):
        yield "rejected_event", rejection(row)
    withheld = withheld_records.find(tenant_id, customer_id)
    while record := await asyncio.to_thread(_next, withheld):
        yield (
            "withheld_event",
            WithheldEvent(event_id=record.event_id, received_at=record.received_at, event=Raw(record.raw)),
        )
    if known:
        log = page_of(_sql.look_through_log, limit=_LOG_PAGE)
        async for row in _events(database, asked, _walk(log, "last_at", "last_key")):
            yield "event", _event(row)


async def _events(
    database: AsyncConnectionPool, asked: Mapping[str, object], places: AsyncIterator[Row]
) -> AsyncIterator[Row]:
    """Yield the events that are in these places, and read so many at a time as memory can hold."""
    found: list[Row] = []
    async for place in places:
        if place["event_key"] is not None:
            found.append(place)
        if len(found) >= _PAGE:
            for row in await _events_in(database, asked, found):
                yield row
            found = []
    for row in await _events_in(database, asked, found):
        yield row


async def _events_in(
    database: AsyncConnectionPool, asked: Mapping[str, object], places: Sequence[Row]
) -> list[Row]:
    keys = {
        "received_ats": [place["received_at"] for place in places],
        "event_keys": [place["event_key"] for place in places],
    }
    return await fetch_all(database, _sql.list_events, {**asked, **keys}) if places else []


async def _walk(
    page_after: Callable[..., Awaitable[list[Row]]], instant: str, key: str
) -> AsyncIterator[Row]:
    """Yield the rows of all pages, each of which begins after those of the page before."""
    place: tuple[object, object] = (None, None)
    while rows := await page_after(*place):
        place = (rows[-1][instant], rows[-1][key])
        for row in rows:
            yield row


def _next(records: Iterator[Record]) -> Record | None:
    return next(records, None)


def _event(row: Row) -> ExportedEvent:
    return ExportedEvent(
        event_id=row["event_id"],
        event_type=row["event_type"],
        occurred_at=row["occurred_at"],
        received_at=row["received_at"],
        trace_id=row["trace_id"],
        event=Raw(row["raw"].encode()),
    )
