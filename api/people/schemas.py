"""What the routes about people's data take and answer; see `api.http.schemas`."""

from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from api.http.schemas import Counts, JsonObject, Page, Time

# As the schema of customer_updated has it: JSON Schema's $ stands for the very end, and its \s holds U+FEFF.
_EMAIL = r"^[^@\s\ufeff]+@[^@\s\ufeff]+$(?!\n)"


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
