"""GET /v1/customers: what the signals add up to, from PostgreSQL."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from msgspec import Raw
from pydantic import Field

from api.access.principals import Reader
from api.database.fetching import Row, fetch_all, fetch_one
from api.database.pages import fetch_found, fetch_page
from api.http.cursors import decode_cursor
from api.http.errors import not_found
from api.http.openapi import answer, page_answer, problems
from api.http.parameters import CustomerId, PageQuery, PeriodQuery, check_query_text
from api.http.responses import cut_page, json_response
from api.reading.schemas import Customer, CustomerPage, SignalPage
from api.reading.signals import EXAMPLE as SIGNAL_EXAMPLE
from api.reading.signals import signal
from common.clock import Clock
from common.database.queries import Queries
from common.scoring import score_at

_EXAMPLE: dict[str, Any] = {
    "customer_id": "07592",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "phone": None,
    "custom_fields": {"segment": "enterprise"},
    "tags": ["vip"],
    "signal_count": 201,
    "counts": {"purchase": 201},
    "signal_counts": {"revenue": 201},
    "totals": {"USD": "13990.93"},
    "score": 12.7315,
    "first_seen": "1997-01-01T00:00:00Z",
    "last_seen": "1998-06-30T00:00:00Z",
}
_SCORE_DIGITS = 4

router = APIRouter(prefix="/v1/customers", tags=["customers"], dependencies=[Depends(check_query_text)])
_sql = Queries("api.reading", "customers.sql")
_signals_sql = Queries("api.reading", "signals.sql")


class CustomerQuery(PageQuery):
    """A page of customers."""

    sort: Literal["score", "customer_id"] = Field(
        "score", description="`score`: highest current score first. `customer_id`: in a fixed order."
    )


@router.get(
    "",
    summary="List customers",
    responses={**page_answer(CustomerPage, _EXAMPLE), **problems(401, 403, 422, 503)},
)
async def list_customers(
    request: Request,
    query: Annotated[CustomerQuery, Query()],
    principal: Reader,
) -> Response:
    """All customers.

    By score, a customer whose score rises while you page moves up: you never see one twice, and who overtook
    you is found on the first pages of the next walk. By `customer_id`, nobody ever moves.
    """
    services = request.app.state.services
    scope = ["customers", principal.tenant_id, query.sort]
    heat, after_id = (
        decode_cursor(query.cursor, scope, tuple[float | None, str]) if query.cursor else (None, None)
    )
    if query.sort == "customer_id":
        statement = _sql.list_by_id
    elif after_id is None:
        statement = _sql.list_hottest
    else:
        statement = _sql.list_without_heat if heat is None else _sql.list_cooler
    rows = await fetch_all(
        services.database,
        statement,
        {
            "tenant_id": principal.tenant_id,
            "after_heat": heat,
            "after_id": after_id,
            "limit": query.limit + 1,
        },
    )
    page, next_cursor = cut_page(rows, query.limit, scope, lambda row: (row["heat"], row["customer_id"]))
    return json_response(CustomerPage([shown_customer(row, services.clock) for row in page], next_cursor))


@router.get(
    "/{customer_id:path}/timeline",
    summary="List a customer's signals in order",
    responses={**page_answer(SignalPage, SIGNAL_EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def get_timeline(
    request: Request,
    customer_id: CustomerId,
    query: Annotated[PeriodQuery, Query()],
    principal: Reader,
) -> Response:
    """The customer's signals in the order in which they occurred, oldest first."""
    database = request.app.state.services.database
    identity = {"tenant_id": principal.tenant_id, "customer_id": customer_id}
    scope = ["timeline", principal.tenant_id, customer_id, query.since, query.until]
    page, next_cursor = await fetch_page(
        database,
        _signals_sql.list_timeline,
        {**identity, "since": query.since, "until": query.until},
        query,
        scope,
        tuple[datetime, UUID],
        after_at="occurred_at",
        after_id="signal_id",
    )
    if not page and await fetch_one(database, _sql.find_customer, identity) is None:
        raise not_found("no customer has this id")
    return json_response(SignalPage([signal(row) for row in page], next_cursor))


@router.get(
    "/{customer_id:path}",
    summary="Get one customer",
    responses={**answer(Customer, _EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def get_customer(
    request: Request,
    customer_id: CustomerId,
    principal: Reader,
) -> Response:
    """One customer: profile, counts, totals and current score."""
    services = request.app.state.services
    row = await fetch_found(
        services.database,
        _sql.find_customer,
        {"tenant_id": principal.tenant_id, "customer_id": customer_id},
        else_tell="no customer has this id",
    )
    return json_response(shown_customer(row, services.clock))


def shown_customer(row: Row, clock: Clock) -> Customer:
    """A row of `customers` as the API shows it."""
    return Customer(
        customer_id=row["customer_id"],
        name=row["name"],
        email=row["email"],
        phone=row["phone"],
        custom_fields=Raw(row["custom_fields"]),
        tags=Raw(row["tags"]),
        signal_count=row["signal_count"],
        counts=Raw(row["counts"]),
        signal_counts=Raw(row["signal_counts"]),
        totals=Raw(row["totals"]),
        score=round(score_at(row["heat"], clock()), _SCORE_DIGITS),
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
    )
