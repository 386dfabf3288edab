"""What requests may ask for: ids in paths, and the query parameters that several lists share."""

import re
import struct
from datetime import datetime
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Path, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from api.http.errors import invalid_parameter
from common.envelope import MAX_ID_CHARACTERS, parse_instant
from common.errors import InvalidEventError

MAX_PAGE = 500

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_UNESCAPED_PLUS = re.compile(r" (?=\d{2}:\d{2}$)")


async def check_query_text(request: Request) -> None:
    """Refuse a query string that PostgreSQL could not take, before anything is asked with it.

    Raises:
        ProblemError: 422; the text is no UTF-8 (lone surrogates included) or contains U+0000.
    """
    query: bytes = request.scope["query_string"]
    if b"%" not in query:
        return
    try:
        decoded = unquote_to_bytes(query).decode()
    except UnicodeDecodeError:
        raise invalid_parameter("query", "parameters must be percent-encoded UTF-8") from None
    if "\0" in decoded:
        raise invalid_parameter("query", "parameters must not contain U+0000")


def decode_id(segment: str) -> str:
    """An id as it stood in the path, percent-decoded; slashes may be encoded or not.

    Raises:
        ValueError: no event or customer can have it: it has no 1 to 200 characters, is no UTF-8, or contains U+0000.
    """
    try:
        decoded = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise ValueError("must be percent-encoded UTF-8") from None
    if not 1 <= len(decoded) <= MAX_ID_CHARACTERS or "\0" in decoded:
        raise ValueError(f"takes 1 to {MAX_ID_CHARACTERS} characters, none of them U+0000")
    return decoded


def parse_moment(text: str) -> datetime:
    """An RFC 3339 instant, or a date, which means its midnight in UTC.

    Raises:
        ValueError: it is neither, or outside the years 1 to 9999.
    """
    if _DATE.fullmatch(text):
        text += "T00:00:00Z"
    # A plus sign that the client forgot to encode arrives as a space.
    text = _UNESCAPED_PLUS.sub("+", text)
    try:
        return parse_instant(text, "")
    except InvalidEventError:
        raise ValueError("expected an RFC 3339 instant like 2026-11-21T10:30:00Z, or a date") from None


Instant = Annotated[datetime, BeforeValidator(parse_moment, json_schema_input_type=datetime)]


def _single_precision(score: float) -> float:
    """As PostgreSQL keeps scores; what is too small for that, which it would refuse to compare, is 0."""
    return float(struct.unpack("f", struct.pack("f", score))[0])


Score = Annotated[float, Field(ge=0, le=1), AfterValidator(_single_precision)]

EventId = Annotated[str, Path(examples=["order-1001"]), AfterValidator(decode_id)]
CustomerId = Annotated[str, Path(examples=["07592"]), AfterValidator(decode_id)]


class PageQuery(BaseModel):
    """Which page of a list."""

    # A misspelt filter must not silently answer everything.
    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(50, ge=1, le=MAX_PAGE, description="Most items in the answer.")
    cursor: str | None = Field(None, description="`next_cursor` of the page before, with the same filters.")


class PeriodQuery(PageQuery):
    """A page of what happened in a period."""

    since: Instant | None = Field(
        None, description="From this instant on (RFC 3339; a date means its midnight in UTC)."
    )
    until: Instant | None = Field(None, description="Before this instant.")


class SignalQuery(PeriodQuery):
    """A page of signals."""

    customer_id: str | None = Field(None, description="Only of this customer.", examples=["07592"])
    event_type: list[str] = Field([], description="Only of these event types.", examples=[["purchase"]])
    signal_type: list[str] = Field([], description="Only of these signal types.", examples=[["revenue"]])
    min_score: Score | None = Field(
        None, description="Only with at least this `signal_score`.", examples=[0.7]
    )

    @property
    def scope(self) -> list[object]:
        """The filters, in a form that binds a cursor to them."""
        return [
            self.customer_id,
            sorted(set(self.event_type)),
            sorted(set(self.signal_type)),
            self.min_score,
            self.since,
            self.until,
        ]
