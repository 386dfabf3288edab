"""What /v1/admin takes and answers."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from api.http.schemas import Page, Time
from common.tenancy.keys import Scope
from common.tenancy.secrets import Kind
from common.tenancy.tenants import MOST_RETENTION_DAYS, Plan, Status

Slug = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$(?!\n)", examples=["acme"])]
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Origins = Annotated[
    list[Annotated[str, Meta(max_length=300, examples=["https://shop.example"])]],
    Meta(max_length=100, description="Of the web pages that may send events: scheme, host and port."),
]
_MOST = 1_000_000
RetentionDays = Annotated[
    int,
    Meta(
        ge=1,
        le=MOST_RETENTION_DAYS,
        description="How long events and refusals are kept, by `received_at`; null: as long as the platform's.",
    ),
]
Label = Annotated[
    str, Meta(max_length=200, pattern=r"^[^\x00]*$", description="What the key is for, in a word.")
]


class Tenant(Struct, kw_only=True):
    """A tenant. While it is `suspended`, its requests are answered 403; what it sent before still arrives."""

    slug: str
    name: str
    status: Status
    status_since: Time
    plan: Plan
    allowed_origins: Origins
    retention_days: RetentionDays | None
    created_at: Time


class TenantPage(Page[Tenant]):
    """A page of tenants."""


class NewTenant(Struct, kw_only=True, forbid_unknown_fields=True):
    """A tenant to be made."""

    slug: Slug
    name: Name | UnsetType = UNSET
    plan: Plan = "enterprise"


class TenantChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to become of a tenant; what is left out stays. Status and plan are the platform's to change."""

    status: Literal["active", "suspended"] | UnsetType = UNSET
    plan: Plan | UnsetType = UNSET
    allowed_origins: Origins | UnsetType = UNSET
    retention_days: RetentionDays | UnsetType | None = UNSET


class PlanLimits(Struct, kw_only=True, forbid_unknown_fields=True):
    """What the tenants of a plan may do; null is no limit. A month is one in UTC, and new events are counted."""

    requests_per_second: Annotated[int, Meta(ge=1, le=_MOST)] | None
    events_per_second: Annotated[int, Meta(ge=1, le=_MOST)] | None
    monthly_events: Annotated[int, Meta(ge=0, le=2**53)] | None


class NamedPlan(PlanLimits, kw_only=True):
    """A plan."""

    plan: Plan


class PlanList(Struct):
    """All plans, the smallest first."""

    items: list[NamedPlan]
    next_cursor: None = None


class ApiKey(Struct, kw_only=True):
    """What is known of a key: everything but its secret. `last_used_at` is right to about a minute."""

    prefix: str
    kind: Kind
    name: str
    scopes: list[str]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None


class ApiKeyPage(Page[ApiKey]):
    """A page of a tenant's keys."""


class NewKey(Struct, kw_only=True, forbid_unknown_fields=True):
    """A key to be made.

    A `publishable` one, for web pages, has the scope `ingest` alone, and changes no profiles. The scope `admin` is for
    keys of the platform's own tenant.
    """

    scopes: Annotated[list[Scope], Meta(min_length=1)]
    name: Label = ""
    kind: Kind = "secret"
    expires_at: (
        Annotated[datetime, Meta(tz=True, description="Within 100 years from now; null: never.")] | None
    ) = None


class Rotation(Struct, kw_only=True, forbid_unknown_fields=True):
    """For how long the old key still works, beside the new one."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=365 * 86400)] = 86400


class MadeKey(Struct, kw_only=True):
    """A key, whole, for the only time: keep it."""

    prefix: str
    key: str
