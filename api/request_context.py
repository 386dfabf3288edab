"""What surrounds every request: its id on each log line, its metrics, and the last resort for failures."""

import logging
import re
import time
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.audit.call_log import call_of
from api.http.client_address import ClientAddresses
from api.http.errors import as_problem, problem_response
from api.http.responses import ANSWER_FIELDS
from api.http.security_headers import SecurityHeaders
from common.clock import Clock
from common.envelope import new_event_id
from common.metrics import Metrics

_ID_HEADER = b"x-request-id"

# Nobody is there to read it: it only tells the metrics that neither side refused the request.
_CLIENT_CLOSED = 499

_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_log = structlog.get_logger(__name__)
_level = logging.getLogger(__name__)


class RequestContext:
    """ASGI middleware: a request id, metrics by route, security headers, and a bare 500 for what nobody expected.

    The id is the client's ``X-Request-ID`` where that is safe to log, a fresh UUIDv7 otherwise; it is sent back,
    bound to the log lines and put into ``scope["request_id"]``.

    Routes see the path as sent, still percent-encoded, and decode ids by themselves
    (`api.http.parameters.decode_id`): an encoded slash stays part of its id instead of ending the segment.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        clock: Clock,
        headers: SecurityHeaders,
        addresses: ClientAddresses,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock
        self._headers = headers
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on an HTTP request with what surrounds it; other scopes (lifespan) as they are."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope["headers"])
        raw_path = scope.get("raw_path") or quote(scope["path"]).encode()
        scope = {**scope, "path": raw_path.decode("ascii", "replace"), "request_id": request_id}
        scope[ANSWER_FIELDS] = fields = [(_ID_HEADER, request_id.encode())]
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._headers.complete([*message["headers"], *fields])
            await send(message)

        received_at, started = self._clock(), time.perf_counter()
        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            status = _CLIENT_CLOSED
            _log.info("client_disconnected", method=scope["method"])
        except Exception as error:
            _log.exception("request_crashed", method=scope["method"])
            if status:  # too late to answer otherwise: let the server cut the connection
                raise
            await problem_response(as_problem(error), request_id)(scope, receive, send_with_id)
        finally:
            try:
                self._record(scope, received_at, status, time.perf_counter() - started)
            except Exception:  # noqa: BLE001  # the answer is out: what goes wrong in our books is not the client's affair
                _log.exception("request_not_recorded")
            structlog.contextvars.reset_contextvars(**bound)

    def _record(self, scope: Scope, received_at: datetime, status: int, seconds: float) -> None:
        # The route's template, never the path itself: ids as label values would grow without bound.
        route = getattr(scope.get("route"), "path_format", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.count("sspp_http_requests_total", method=method, route=route, status=str(status))
        self._metrics.observe("sspp_http_request_duration_seconds", seconds, method=method, route=route)
        if scope["path"].startswith("/v1/") and (app := scope.get("app")):
            client = scope.get("client")
            app.state.services.audit.note(
                call_of(
                    scope,
                    received_at=received_at,
                    method=method,
                    route=route,
                    status=status,
                    seconds=seconds,
                    client_address=self._addresses.find(client[0] if client else None, scope["headers"]),
                )
            )
        if _level.isEnabledFor(
            logging.DEBUG
        ):  # asked first: a line that is not written costs as much as a metric
            _log.debug(
                "request_answered", method=method, route=route, status=status, seconds=round(seconds, 6)
            )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == _ID_HEADER:
            return value.decode() if _SAFE_ID.fullmatch(value) else new_event_id()
    return new_event_id()
