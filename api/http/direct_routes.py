"""The way of the hottest requests: past all of the framework, which costs more than their work."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.errors import EXPECTED_ERRORS, answer_error


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """One method of one fixed path, and the coroutine that answers it or raises one of `EXPECTED_ERRORS`.

    The framework knows the same route: it documents it, and answers its other methods.
    """

    method: str
    path: str
    answer: Callable[[Request], Awaitable[Response]]

    @property
    def path_format(self) -> str:
        """The same as `path`: what the framework calls a route's path without the types of its parameters."""
        return self.path


class DirectApp(FastAPI):
    """A FastAPI app that answers the requests of its direct routes without its middleware, routing and dependencies."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._direct: dict[tuple[str, bytes], ASGIApp] = {}

    def add_direct_route(self, route: DirectRoute, surround: Callable[[ASGIApp], ASGIApp]) -> None:
        """Answer by `route` what it stands for.

        Args:
            route: the route.
            surround: the middleware that these requests need all the same.
        """

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            scope["route"] = route
            request = Request(scope, receive, send)
            try:
                response = await route.answer(request)
            except EXPECTED_ERRORS as error:
                response = answer_error(request, error)
            await response(scope, receive, send)

        self._direct[route.method, route.path.encode()] = surround(answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer directly, or as FastAPI does."""
        if scope["type"] == "http":
            direct = self._direct.get((scope["method"], scope.get("raw_path", b"")))
            if direct is not None:
                scope["app"] = self
                await direct(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
