"""What /v1/event-types takes and answers."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from api.http.schemas import JsonObject, Page, Time
from common.event_types.registry import Compatibility, Status
from common.event_types.signal_type import SignalType


class EventType(Struct, kw_only=True):
    """A version of an event type. Events are accepted if their `data` fit any version that is not `retired`."""

    name: str
    version: int
    status: Annotated[
        Status, Meta(description="`deprecated`: senders should move on. `retired`: accepts nothing any more.")
    ]
    description: str
    owner: Annotated[Literal["platform", "tenant"], Meta(description="Whose type it is.")]
    signal_type: Annotated[str | None, Meta(description="What a tenant's own type means.")]
    signal_score: float | None
    created_at: Time
    schema: Annotated[JsonObject, Meta(description="JSON Schema (2020-12) of the event's `data`.")]


class EventTypePage(Page[EventType]):
    """A page of event types."""


class EventTypeDefinition(Struct, kw_only=True, forbid_unknown_fields=True):
    """What an event type is to be."""

    schema: Annotated[
        JsonObject,
        Meta(description="JSON Schema (2020-12) of the event's `data`; references stay within it."),
    ]
    description: (
        Annotated[
            str,
            Meta(
                max_length=1000, pattern=r"^[^\x00]*$", description="That of the schema, if it is left out."
            ),
        ]
        | UnsetType
    ) = UNSET
    signal_type: Annotated[SignalType, Meta(description="What such an event tells.")] = SignalType.ENGAGEMENT
    signal_score: Annotated[float, Meta(ge=0, le=1, description="How much it tells.")] = 0.4
    compatibility: Annotated[
        Compatibility,
        Meta(
            description="`backward`: refused if the new version may refuse what the one before it accepts."
            " `none`: taken all the same."
        ),
    ] = "backward"


class EventTypeChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to become of a version."""

    status: Status


class SchemaViolation(Struct, kw_only=True):
    """How many events were refused for one reason: by one keyword of the schema, at one place in their `data`."""

    version: Annotated[
        int, Meta(description="The newest that was not retired then; older ones did not fit either.")
    ]
    path: Annotated[
        str,
        Meta(
            description="JSON Pointer to the place in the event; `*` is an element, or a field that the schema does not"
            " name.",
            examples=["/data/items/*/price"],
        ),
    ]
    keyword: Annotated[str, Meta(examples=["minimum"])]
    events: int
    first_at: Time
    last_at: Time
    sample: Annotated[
        "ViolationSample | None",
        Meta(description="The last one; null once it is deleted, or is refused otherwise."),
    ]


class ViolationSample(Struct, kw_only=True):
    """A refused event; `GET /v1/rejected/{rejection_id}` shows the whole of it."""

    rejection_id: str
    event_id: str
    detail: str


class SchemaViolationPage(Page[SchemaViolation]):
    """A page of violations."""
