"""What the routes about people's data answer."""

from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from api.schemas import Counts, JsonObject, Page, Time


class Erasure(Struct, kw_only=True):
    """The receipt of an erasure; it does not name the customer."""

    erasure_id: UUID
    status: Annotated[
        Literal["pending", "running", "done"],
        Meta(description="`done`: nothing is left that was received before the request."),
    ]
    requested_at: Time
    finished_at: Time | None
    erased: Annotated[Counts, Meta(description="How much was erased, by what it was.")]


class ErasurePage(Page[Erasure]):
    """A page of receipts."""


class ExportedEvent(Struct, kw_only=True):
    """An event of the log, as received."""

    event_id: str
    event_type: str
    occurred_at: Time
    received_at: Time
    trace_id: str | None
    event: JsonObject


class WithheldEvent(Struct, kw_only=True):
    """An event that would be refused, and waits for a decision."""

    event_id: str
    received_at: Time
    event: JsonObject


class ExportEnd(Struct):
    """The last line of an export, without which it is not complete: how many lines came before."""

    lines: int


class ExportLine(Struct):
    """One line of an export: something that is held of a customer, and of what kind it is."""

    kind: Literal["customer", "suppression", "signal", "rejected_event", "withheld_event", "event", "end"]
    item: Any


class Suppression(Struct):
    """Since when nothing is stored of a customer."""

    suppressed_since: Time
