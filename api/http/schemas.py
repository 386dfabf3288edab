"""What answers are made of: JSON shapes, which are also their own documentation in OpenAPI.

Decimal numbers that must stay exact are strings; JSON that passes through (`data`, the raw event) is never
parsed, so its numbers stay as they were sent. Instants are RFC 3339 in UTC with a ``Z``.
"""

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Raw, Struct

Item = TypeVar("Item")

_INSTANT = {"format": "date-time", "examples": ["2026-11-21T10:30:00Z"]}
# PostgreSQL's text cannot hold U+0000.
Text = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
Time = Annotated[datetime, Meta(extra_json_schema=_INSTANT)]
JsonObject = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
Counts = Annotated[
    Raw, Meta(extra_json_schema={"type": "object", "additionalProperties": {"type": "integer"}})
]


class Page(Struct, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None = None
