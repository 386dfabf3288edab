"""Reads request bodies, and bounds how many bytes of them one API process holds at a time."""

import asyncio
from types import TracebackType
from typing import Self

from fastapi import Request

from api.http.body import BODY_ARRIVED, announced_bytes, read_body
from api.http.errors import ProblemError, ShedError
from common.metrics import Metrics

CHECK_AGAIN = "sspp.check_again"
"""Where the scope of a request has what to await once its body is there, where that was not so from the beginning: it
raises what the request is answered with that may no longer be made."""


class BodyBudget:
    """What all requests of a process together may hold of bodies.

    Args:
        max_bytes: how many bytes, decompressed, at a time.
        timeout_seconds: how long one body may take to arrive.
        metrics: where the bytes held are shown.
    """

    def __init__(self, *, max_bytes: int, timeout_seconds: float, metrics: Metrics) -> None:
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._held = 0
        metrics.before_scrape(lambda: metrics.set("sspp_body_bytes", self._held))
        self.timeout_seconds = timeout_seconds

    def lease(self) -> "BodyLease":
        """A request's share, to be used in a ``with`` block that lasts as long as its body is in memory."""
        return BodyLease(self)

    def take(self, size: int, own: int) -> None:
        """Count `size` more bytes as held, for a request that holds `own` bytes already.

        Raises:
            ShedError: 503 ``api_busy``; that would be too many. They are not counted.
        """
        # Alone, a request gets whatever it needs: what is larger than the limit would otherwise never get in.
        if self._held > own and self._held + size > self._max_bytes:
            self._metrics.count("sspp_requests_shed_total", code="api_busy")
            raise ShedError(
                503,
                "api_busy",
                "this process has as many requests in hand as its memory allows; try again in a second",
                retry_after=1,
            )
        self._held += size

    def give_back(self, size: int) -> None:
        """Count `size` bytes as no longer held."""
        self._held -= size


class BodyLease:
    """The bytes that one request holds; they are given back when its ``with`` block ends."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.give_back(self._size)
        self._size = 0

    async def read(self, request: Request, *, max_bytes: int) -> bytes:
        """The request's body, decompressed, of at most `max_bytes`; see `api.http.body.read_body`.

        Raises:
            ProblemError: as `read_body` does, or 408 ``request_timeout``, the body arrives too slowly; or what the
                request's `CHECK_AGAIN` raises.
            ShedError: 503 ``api_busy``, too many bytes are held.
        """
        announced_bytes(request.headers, max_bytes)
        reading = read_body(
            request.stream(),
            encoding=request.headers.get("content-encoding", "").strip().lower(),
            max_bytes=max_bytes,
            hold=self.hold,
        )
        if BODY_ARRIVED in request.scope.get("extensions", ()):
            return await reading
        try:
            async with asyncio.timeout(self._budget.timeout_seconds):
                body = await reading
        except TimeoutError:
            raise ProblemError(
                408,
                "request_timeout",
                f"the body did not arrive within {self._budget.timeout_seconds:g} seconds; send less at a time",
                headers={"Connection": "close"},
            ) from None
        if check_again := request.scope.get(CHECK_AGAIN):
            await check_again()
        return body

    def hold(self, size: int) -> None:
        """Count `size` more bytes as held for this request.

        Raises:
            ShedError: 503 ``api_busy``; too many bytes are held.
        """
        self._budget.take(size, self._size)
        self._size += size
