"""/v1/admin/tenants: making, listing, suspending and deleting tenants."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from msgspec import UNSET, convert

from api.access.principals import Administrator, Platform
from api.admin.access import MAX_BODY_BYTES, ask, own_or_any
from api.admin.schemas import NewTenant, Tenant, TenantChange, TenantPage
from api.http.cursors import Serial, decode_cursor
from api.http.errors import ProblemError
from api.http.openapi import answer, page_answer, problems, request_body
from api.http.parameters import PageQuery, check_query_text
from api.http.request_json import read_json
from api.http.responses import cut_page, json_response
from common.tenancy import tenants

_EXAMPLE: dict[str, Any] = {
    "slug": "acme",
    "name": "Acme Ltd",
    "status": "active",
    "status_since": "2026-11-21T10:30:00Z",
    "plan": "pro",
    "allowed_origins": ["https://shop.example"],
    "retention_days": None,
    "created_at": "2026-11-21T10:30:00Z",
}
_SCOPE = ["admin", "tenants"]

router = APIRouter(
    prefix="/v1/admin/tenants", tags=["administration"], dependencies=[Depends(check_query_text)]
)


@router.get(
    "",
    summary="List tenants",
    responses={**page_answer(TenantPage, _EXAMPLE), **problems(401, 403, 422, 503)},
)
async def list_tenants(
    request: Request, query: Annotated[PageQuery, Query()], principal: Platform
) -> Response:
    """All tenants in the order of their making; the first one is the platform itself."""
    after = decode_cursor(query.cursor, _SCOPE, tuple[Serial])[0] if query.cursor else None
    found = await ask(request, principal, tenants.list_tenants, after=after, limit=query.limit + 1)
    page, next_cursor = cut_page(found, query.limit, _SCOPE, lambda tenant: [tenant.tenant_id])
    return json_response(TenantPage([_shown(tenant) for tenant in page], next_cursor))


@router.post(
    "",
    status_code=201,
    summary="Make a tenant",
    responses={**answer(Tenant, _EXAMPLE, status=201), **problems(401, 403, 408, 409, 413, 415, 422, 503)},
    openapi_extra=request_body(NewTenant, {"slug": "acme", "name": "Acme Ltd", "plan": "pro"}),
)
async def create_tenant(request: Request, principal: Platform) -> Response:
    """Make a tenant; it needs a key next."""
    wanted = (await read_json(request, max_bytes=MAX_BODY_BYTES, struct=NewTenant)).value
    name = wanted.slug if wanted.name is UNSET else wanted.name
    made = await ask(request, principal, tenants.create_tenant, wanted.slug, name, wanted.plan)
    response = json_response(_shown(made), status=201)
    response.headers["Location"] = f"/v1/admin/tenants/{made.slug}"
    return response


@router.get(
    "/{slug}",
    summary="Look at a tenant",
    responses={**answer(Tenant, _EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def get_tenant(request: Request, slug: str, principal: Administrator) -> Response:
    """One tenant; with the scope `tenant_admin`, one's own."""
    return json_response(
        _shown(await ask(request, principal, tenants.find_tenant, own_or_any(principal, slug)))
    )


@router.patch(
    "/{slug}",
    summary="Change a tenant",
    responses={**answer(Tenant, _EXAMPLE), **problems(401, 403, 404, 408, 409, 413, 415, 422, 503)},
    openapi_extra=request_body(TenantChange, {"status": "suspended"}),
)
async def change_tenant(request: Request, slug: str, principal: Administrator) -> Response:
    """Suspend it or let it go on, change its plan, which web pages may send, or how long its events are kept.

    Every process knows within 2 seconds; what is too old goes within about an hour.

    A suspended tenant is answered 403, and what it sent before still arrives. Its own administrator may change
    `allowed_origins` and `retention_days`.
    """
    own_or_any(principal, slug)
    wanted = (await read_json(request, max_bytes=MAX_BODY_BYTES, struct=TenantChange)).value
    if not (wanted.status is UNSET and wanted.plan is UNSET) and not principal.may("admin"):
        raise ProblemError(403, "missing_scope", "status and plan are changed with the scope 'admin'")
    return json_response(_shown(await ask(request, principal, _change, slug, wanted)))


@router.delete(
    "/{slug}",
    status_code=204,
    summary="Delete a tenant",
    responses=problems(401, 403, 404, 409, 422, 503),
)
async def delete_tenant(request: Request, slug: str, principal: Platform) -> Response:
    """For good: its keys are as if they did not exist.

    Its data goes with the platform's retention, or sooner with its own: `retention_days` can still be changed. When
    that time is over for all it sent, its customers go too.
    """
    await ask(request, principal, tenants.set_status, slug, "deleted")
    return Response(status_code=204)


def _change(connection: tenants.Connection, slug: str, wanted: TenantChange) -> tenants.Tenant:
    changed = tenants.change_tenant(
        connection,
        slug,
        plan=None if wanted.plan is UNSET else wanted.plan,
        allowed_origins=None if wanted.allowed_origins is UNSET else wanted.allowed_origins,
        retention_days=None if wanted.retention_days is UNSET else wanted.retention_days or 0,
    )
    return changed if wanted.status is UNSET else tenants.set_status(connection, slug, wanted.status)


def _shown(tenant: tenants.Tenant) -> Tenant:
    return convert(tenant, Tenant, from_attributes=True)
