"""What the routes that read answer; see `api.http.schemas`."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from api.http.schemas import Counts, JsonObject, Page, Time


class Signal(Struct, kw_only=True):
    """One thing that an event means."""

    signal_id: UUID
    event_id: str
    event_type: str
    customer_id: str
    signal_type: str
    signal_score: Annotated[float, Meta(ge=0, le=1)]
    occurred_at: Time
    received_at: Time
    trace_id: str | None
    amount: Annotated[str | None, Meta(description="An exact decimal number.")]
    currency: Annotated[str | None, Meta(description="ISO 4217.")]
    data: Annotated[JsonObject, Meta(description="The event's data; its numbers are exact.")]


class SignalPage(Page[Signal]):
    """A page of signals."""


class Event(Struct, kw_only=True, omit_defaults=True):
    """An event as it was received, and what became of it."""

    event_id: str
    event_type: str
    customer_id: str
    status: Annotated[
        Literal["stored", "indexed", "rejected"],
        Meta(description="`stored`: in PostgreSQL. `indexed`: in search, too. `rejected`: refused."),
    ]
    occurred_at: Annotated[Time | None, Meta(description="null for a rejected event.")]
    received_at: Time
    trace_id: str | None
    signals: Annotated[list[UUID], Meta(description="The ids of the event's signals.")]
    event: Annotated[JsonObject, Meta(description="The event, exactly as received.")]
    code: Annotated[str, Meta(description="Why it was rejected, for machines.")] | UnsetType = UNSET
    detail: Annotated[str, Meta(description="Why it was rejected, for people.")] | UnsetType = UNSET
    path: Annotated[str, Meta(description="JSON Pointer to what was wrong.")] | UnsetType = UNSET


class EventPage(Page[Event]):
    """A page of events."""


class Customer(Struct, kw_only=True):
    """A customer, as the signals and updates add up."""

    customer_id: str
    name: str | None
    email: str | None
    phone: str | None
    custom_fields: JsonObject
    tags: Annotated[Raw, Meta(extra_json_schema={"type": "array", "items": {"type": "string"}})]
    signal_count: int
    counts: Annotated[Counts, Meta(description="Signals by event type.")]
    signal_counts: Annotated[Counts, Meta(description="Signals by signal type.")]
    totals: Annotated[
        Raw,
        Meta(
            description="Currency → exact decimal number: purchases less refunds.",
            extra_json_schema={"type": "object", "additionalProperties": {"type": "string"}},
        ),
    ]
    score: Annotated[
        float, Meta(ge=0, description="The sum of the signals' scores now; each halves every 30 days.")
    ]
    first_seen: Time
    last_seen: Time


class CustomerPage(Page[Customer]):
    """A page of customers."""


class FoundSignal(Signal, kw_only=True):
    """A signal that a search found."""

    highlight: Annotated[
        dict[str, list[str]],
        Meta(description="Fragments of text, HTML-escaped, with what was found in `<em>`, by field."),
    ] = {}


class SearchPage(Struct, kw_only=True):
    """A page of search results, newest first."""

    total: Annotated[int, Meta(description="How many signals match, on all pages.")]
    items: list[FoundSignal]
    facets: Annotated[
        dict[str, dict[str, int]], Meta(description="Matches by event type and by signal type.")
    ]
    next_cursor: str | None = None


class MonthUsage(Struct):
    """The new events of a month; in UTC, by their arrival."""

    month: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}$")]
    events: int


class Usage(Struct, kw_only=True):
    """What a tenant may use by its plan, null being no limit, and what it has used."""

    plan: str
    requests_per_second: int | None
    events_per_second: int | None
    monthly_events: int | None
    months: Annotated[list[MonthUsage], Meta(description="The last ones that have events, newest first.")]
