"""Answers to what never became a request: what is no HTTP, or a head that is too large or too slow."""

from http import HTTPStatus

import structlog

from api.http.errors import PROBLEM_TYPE, ProblemError, problem_response
from api.http.security_headers import SecurityHeaders
from common.envelope import new_event_id
from common.metrics import Metrics

_log = structlog.get_logger(__name__)


class RefusedHeads:
    """Surrounds them with what requests get (`api.request_context`): an id, headers, metrics, a log line.

    Args:
        headers: what each answer carries.
        metrics: where they are counted, if anywhere.
    """

    def __init__(self, headers: SecurityHeaders, metrics: Metrics | None = None) -> None:
        self._headers = headers
        self._metrics = metrics

    def answer(self, problem: ProblemError) -> bytes:
        """The HTTP/1.1 answer that tells `problem` and ends the connection."""
        request_id = new_event_id()
        body = bytes(problem_response(problem, request_id).body)
        headers = self._headers.complete(
            [
                (b"content-type", PROBLEM_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
                (b"x-request-id", request_id.encode()),
                (b"connection", b"close"),
            ]
        )
        if self._metrics is not None:
            self._metrics.count(
                "sspp_http_requests_total", method="other", route="unmatched", status=str(problem.status)
            )
        _log.info("request_refused", status=problem.status, code=problem.code, request_id=request_id)
        status_line = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n".encode()
        return b"".join(
            (status_line, *(name + b": " + value + b"\r\n" for name, value in headers), b"\r\n", body)
        )
