"""What the reading API answers: the JSON shapes, which are also their own documentation in OpenAPI.

Decimal numbers that must stay exact are strings; JSON that passes through (`data`, the raw event) is never
parsed, so its numbers stay as they were sent. Instants are RFC 3339 in UTC with a ``Z``.
"""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Item = TypeVar("Item")

_INSTANT = {"format": "date-time", "examples": ["2026-11-21T10:30:00Z"]}
# PostgreSQL's text cannot hold U+0000.
Text = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
# As the schema of customer_updated has it: JSON Schema's $ stands for the very end, and its \s holds U+FEFF.
_EMAIL = r"^[^@\s\ufeff]+@[^@\s\ufeff]+$(?!\n)"
Time = Annotated[datetime, Meta(extra_json_schema=_INSTANT)]
JsonObject = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
Counts = Annotated[
    Raw, Meta(extra_json_schema={"type": "object", "additionalProperties": {"type": "integer"}})
]


class Page(Struct, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None = None


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


class ProfileUpdate(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Changes to a customer's profile; fields that are left out stay as they are."""

    name: Annotated[str, Meta(min_length=1, max_length=500)] | UnsetType | None = UNSET
    email: Annotated[str, Meta(max_length=320, pattern=_EMAIL)] | UnsetType | None = UNSET
    phone: Annotated[str, Meta(min_length=1, max_length=50)] | UnsetType | None = UNSET
    custom_fields: (
        Annotated[
            dict[Annotated[str, Meta(min_length=1, max_length=100)], Raw],
            Meta(max_length=200, description="Fields to set; a null removes the field."),
        ]
        | UnsetType
    ) = UNSET
    tags: (
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=100)]],
            Meta(
                max_length=100,
                description="The tags, each once, replacing all earlier ones.",
                extra_json_schema={"uniqueItems": True},
            ),
        ]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        if self.tags is not UNSET and len(set(self.tags)) < len(self.tags):
            raise ValueError("tags must differ from each other")


class Accepted(Struct):
    """The event that carries the change; ask for its status with ``GET /v1/events/{event_id}``."""

    event_id: str


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


class Rejection(Struct, kw_only=True):
    """An event that was refused, and why."""

    rejection_id: UUID
    event_id: str
    event_type: str
    customer_id: str
    trace_id: str | None
    code: Annotated[str, Meta(description="The reason, for machines.")]
    detail: Annotated[str, Meta(description="The reason, for people.")]
    path: Annotated[str, Meta(description="JSON Pointer to what was wrong.")]
    received_at: Time
    rejected_at: Time
    status: Literal["open", "replayed"]
    replayed_at: Time | None
    event: Annotated[JsonObject, Meta(description="The event, exactly as received.")]


class RejectionPage(Page[Rejection]):
    """A page of refused events."""


class ReplayRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which open refusals to send through again; without any filter, all of them."""

    ids: Annotated[list[UUID], Meta(min_length=1, max_length=1000)] | None = None
    code: Text | None = None
    event_type: Text | None = None
    since: Annotated[str | None, Meta(description="Refused from this instant on (RFC 3339).")] = None
    until: Annotated[str | None, Meta(description="Refused before this instant.")] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="Most events to replay in this call.")] = 1000


class Replayed(Struct):
    """How many events went through again, and whether more wait: then call again."""

    replayed: int
    more: bool


class WithheldReason(Struct):
    """How many withheld events would be refused for a reason."""

    code: str
    event_type: Annotated[str, Meta(description="Empty if the event does not say.")]
    events: int


class Withheld(Struct, kw_only=True):
    """Refusals that are withheld, since they were suspiciously many."""

    events: int
    oldest_received_at: Annotated[
        Time | None, Meta(description="Of a sample: the 100 batches that come back next.")
    ]
    reasons: Annotated[
        list[WithheldReason], Meta(description="Of the same sample, the most frequent reason first.")
    ]
    released_until: Annotated[Time | None, Meta(description="Until then refusals are made all the same.")]


class ReleaseRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """For how long refusals are to be made, however many they are."""

    minutes: Annotated[int, Meta(ge=1, le=1440)] = 60


class Released(Struct):
    """How many events were withheld, and until when refusals are made."""

    events: int
    released_until: Time


class ApiCall(Struct, kw_only=True):
    """One call of the API: no bodies, no secrets."""

    received_at: Time
    key_prefix: str | None
    method: str
    route: Annotated[str, Meta(description="The route's template, without ids.")]
    target: Annotated[str | None, Meta(description="What an administrator's call was about.")]
    status: int
    duration_ms: float
    client_address: str | None
    user_agent: str | None
    request_id: str


class ApiCallPage(Page[ApiCall]):
    """A page of API calls."""


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
