"""What /v1/api-logs answers; see `api.http.schemas`."""

from typing import Annotated

from msgspec import Meta, Struct

from api.http.schemas import Page, Time


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
