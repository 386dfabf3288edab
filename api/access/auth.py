"""Who is asking, and what their API keys let them do."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, TypeAlias

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.http.body_budget import CHECK_AGAIN
from api.http.errors import ProblemError
from common.tenancy.keys import SCOPES, Scope
from common.tenancy.plans import NO_LIMITS, Limits
from common.tenancy.tenants import Plan

_bearer = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="sspp_live_<prefix>_<secret>",
    description="An API key, made with `sspp keys` or `/v1/admin`. Its scopes are `ingest`, `read`, `tenant_admin` (all"
    " of its tenant's affairs) and `admin` (those of all tenants).",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a request acts for: a tenant, through one of its keys; and what the tenant may do.

    `events_used` is its usage of this month, where its plan has a limit for that. A `publishable` key is one that
    everybody may know.
    """

    tenant_id: int
    tenant: str
    key_id: int
    key_prefix: str
    scopes: frozenset[str]
    plan: Plan = "enterprise"
    limits: Limits = NO_LIMITS
    events_used: int | None = None
    allowed_origins: frozenset[str] = frozenset()
    publishable: bool = False

    def may(self, scope: Scope) -> bool:
        """Whether the key allows `scope`: ``tenant_admin`` allows all but ``admin``, which allows everything."""
        return (
            scope in self.scopes
            or "admin" in self.scopes
            or ("tenant_admin" in self.scopes and scope != "admin")
        )

    def grants(self) -> list[Scope]:
        """The scopes that keys may have which this key makes, rotates or revokes."""
        return [scope for scope in SCOPES if self.may(scope)]


Check: TypeAlias = Callable[[Request, Principal], None]
"""Returns, or raises why not, if a request with this principal may go on."""


class RefusedKeyError(ProblemError):
    """A key that does not open. `principal` is whose it is; None if nobody knows it."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        principal: Principal | None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, code, detail, headers=headers)
        self.principal = principal


async def authorize(request: Request, scope: Scope, *, check: Check | None = None) -> Principal:
    """The request's principal, whose key must allow `scope`.

    Args:
        request: what is asked.
        scope: what the key must allow.
        check: what is to be checked before the tenant's plan and the scope are.

    Raises:
        ProblemError: 401 without a valid key, 403 without the scope.
        ShedError: 429, the tenant sends more requests than its plan allows.
        DatabaseUnavailableError: the key cannot be looked up.
        Exception: what `check` raises.
    """
    services = request.app.state.services
    authorization = request.headers.get("authorization")
    try:
        found: Principal = await services.authenticator.authenticate(authorization)
    except RefusedKeyError as error:
        request.scope["sspp.principal"] = (
            error.principal
        )  # who uses a key that leaked is for its tenant to see
        raise
    request.scope["sspp.principal"] = found  # for the log of calls
    # A body may take a minute to arrive: the key may be revoked by then, or its tenant suspended. (Not by way of the
    # request, which would hold itself then.)
    request.scope[CHECK_AGAIN] = partial(services.authenticator.authenticate, authorization)
    if check is not None:
        check(request, found)
    await services.rate_limits.admit_request(request.scope, found)
    if not found.may(scope):
        raise ProblemError(
            403,
            "missing_scope",
            f"this API key lacks the scope '{scope}'",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )
    return found


@cache
def requires(scope: Scope, check: Check | None = None) -> Callable[..., Awaitable[Principal]]:
    """`authorize` as a FastAPI dependency."""

    async def principal(
        request: Request,
        # Only declares the scheme for OpenAPI: `authenticate` reads the header itself.
        _declared: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Principal:
        return await authorize(request, scope, check=check)

    return principal
