"""Events from web pages: which origins may send them (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).

A browser asks first, without a key, whether it may send: yes, says the answer, to any page, as there is no tenant yet.
What it then sends has a key, and the tenant of that key says which origins it allows. Only these are told that they may
read the answer. All other routes are for servers: no page of another origin is let read them.
"""

from fastapi import APIRouter, Request, Response

from api.access.auth import Principal
from api.http.errors import ProblemError
from api.http.responses import ANSWER_FIELDS

_PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST",
    # Each by its name: * would not mean Authorization.
    "Access-Control-Allow-Headers": "authorization, content-encoding, content-type, prefer, x-request-id",
    "Access-Control-Max-Age": "7200",
    "Allow": "POST",
}
_READABLE = b"ratelimit, ratelimit-policy, retry-after, x-request-id"

router = APIRouter()


@router.options("/v1/events", include_in_schema=False)
async def preflight() -> Response:
    """What a browser asks before a page's first event."""
    return Response(status_code=204, headers=_PREFLIGHT)


def check_origin(request: Request, principal: Principal) -> None:
    """Return if the request comes from no page, from one of the API's own, or from one that the tenant allows.

    Raises:
        ProblemError: 403 `origin_not_allowed`.
    """
    origin = request.headers.get("origin")
    if origin is None or origin.partition("://")[2] == request.headers.get("host"):
        return
    if origin not in principal.allowed_origins:
        raise ProblemError(403, "origin_not_allowed", "this API key is not for pages of this origin")
    request.scope[ANSWER_FIELDS] += [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _READABLE),
        (b"vary", b"Origin"),
    ]
