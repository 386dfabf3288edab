"""The way of the hottest requests: past the framework's routing and dependencies, which cost more than their work."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import EXPECTED_ERRORS, answer_error


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """One method of one fixed path, and the coroutine that answers it or raises one of `EXPECTED_ERRORS`.

    The framework knows the same route: it documents it, and answers its other methods.
    """

    method: str
    path: str
    answer: Callable[[Request], Awaitable[Response]]


class DirectRoutes:
    """ASGI middleware: answers the requests of `routes`, and passes all others on."""

    def __init__(self, app: ASGIApp, routes: Sequence[DirectRoute]) -> None:
        self._app = app
        self._routes = {(route.method, route.path): route for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            response = await route.answer(request)
        except EXPECTED_ERRORS as error:
            response = answer_error(request, error)
        await response(scope, receive, send)
