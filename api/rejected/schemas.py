"""What the routes about refused events take and answer; see `api.http.schemas`."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from api.http.schemas import JsonObject, Page, Text, Time


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
