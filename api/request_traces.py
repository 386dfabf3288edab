"""A span for each request of the API, as part of the trace that the client began."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.tracing.tracing import Tracing


class RequestTraces:
    """ASGI middleware, for APIs that trace: requests below ``/v1/`` are spans; health checks and metrics are not.

    It belongs inside of what makes up the route (`api.request_context`), whose template names the span: paths have
    the ids of customers in them.
    """

    def __init__(self, app: ASGIApp, *, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on within its span."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        with self._tracing.serving(scope["method"], scope["headers"]) as served:
            if served is None:
                await self._app(scope, receive, send)
                return
            status = 0

            async def send_noting_status(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await self._app(scope, receive, send_noting_status)
            finally:
                served.answered(getattr(scope.get("route"), "path_format", ""), status)
