"""/v1/admin/tenants/{slug}/keys: making, listing, rotating and revoking API keys."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from msgspec import convert

from api.access.principals import Administrator
from api.admin.access import MAX_BODY_BYTES, ask, own_or_any
from api.admin.schemas import ApiKey, ApiKeyPage, MadeKey, NewKey, Rotation
from api.http.cursors import Serial, decode_cursor
from api.http.errors import ProblemError
from api.http.openapi import answer, page_answer, problems, request_body
from api.http.parameters import PageQuery, check_query_text
from api.http.request_json import read_json
from api.http.responses import cut_page, json_response
from common.tenancy import keys
from common.tenancy.secrets import parse_prefix

_EXAMPLE: dict[str, Any] = {
    "prefix": "k7m2q4xw3p",
    "kind": "secret",
    "name": "shop",
    "scopes": ["ingest"],
    "created_at": "2026-11-21T10:30:00Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": "2026-11-21T11:02:00Z",
}
_MADE = {"prefix": "k7m2q4xw3p", "key": "sspp_live_k7m2q4xw3p_…"}

router = APIRouter(
    prefix="/v1/admin/tenants/{slug}/keys", tags=["administration"], dependencies=[Depends(check_query_text)]
)


@router.get(
    "",
    summary="List a tenant's keys",
    responses={**page_answer(ApiKeyPage, _EXAMPLE), **problems(401, 403, 404, 422, 503)},
)
async def list_keys(
    request: Request, slug: str, query: Annotated[PageQuery, Query()], principal: Administrator
) -> Response:
    """In the order of their making, the revoked and expired ones too. The keys themselves are not stored."""
    scope = ["admin", "keys", own_or_any(principal, slug)]
    after = decode_cursor(query.cursor, scope, tuple[Serial])[0] if query.cursor else None
    found = await ask(request, principal, keys.list_keys, slug, after=after, limit=query.limit + 1)
    page, next_cursor = cut_page(found, query.limit, scope, lambda key: [key.key_id])
    shown = [convert(key, ApiKey, from_attributes=True) for key in page]
    return json_response(ApiKeyPage(shown, next_cursor))


@router.post(
    "",
    status_code=201,
    summary="Make a key",
    responses={
        **answer(MadeKey, _MADE, status=201),
        **problems(401, 403, 404, 408, 409, 413, 415, 422, 503),
    },
    openapi_extra=request_body(NewKey, {"scopes": ["ingest"], "name": "shop"}),
)
async def create_key(request: Request, slug: str, principal: Administrator) -> Response:
    """The answer holds the key, for the only time. A tenant can have about 1,000 usable keys."""
    own_or_any(principal, slug)
    wanted = (await read_json(request, max_bytes=MAX_BODY_BYTES, struct=NewKey)).value
    if not set(wanted.scopes) <= set(principal.grants()):
        raise ProblemError(403, "missing_scope", "no key can grant a scope that it lacks")
    made = await ask(
        request, principal, keys.create_key, slug, wanted.name, wanted.scopes, wanted.expires_at, wanted.kind
    )
    return _made(made)


@router.post(
    "/{prefix}/rotations",
    status_code=201,
    summary="Rotate a key",
    responses={
        **answer(MadeKey, _MADE, status=201),
        **problems(401, 403, 404, 408, 409, 413, 415, 422, 503),
    },
    openapi_extra=request_body(Rotation, {"overlap_seconds": 86400}, required=False),
)
async def rotate_key(request: Request, slug: str, prefix: str, principal: Administrator) -> Response:
    """Make a key like this one; the old one works until the overlap is over. The answer holds the new key, once."""
    own_or_any(principal, slug)
    wanted = (await read_json(request, max_bytes=MAX_BODY_BYTES, struct=Rotation, optional=True)).value
    overlap = timedelta(seconds=wanted.overlap_seconds)
    return _made(
        await ask(request, principal, keys.rotate_key, slug, prefix, overlap, most_scopes=principal.grants())
    )


@router.delete(
    "/{prefix}",
    status_code=204,
    summary="Revoke a key",
    responses=problems(401, 403, 404, 422, 503),
)
async def revoke_key(request: Request, slug: str, prefix: str, principal: Administrator) -> Response:
    """For good; every process knows within 2 seconds."""
    own_or_any(principal, slug)
    # A tenant is rid of whatever key it has; but the platform's mightiest ones are not everybody's there.
    most_scopes = principal.grants() if principal.tenant_id == 0 else keys.SCOPES
    await ask(request, principal, keys.revoke_key, slug, prefix, most_scopes=most_scopes)
    return Response(status_code=204)


def _made(key: str) -> Response:
    return json_response(MadeKey(prefix=str(parse_prefix(key)), key=key), status=201)
