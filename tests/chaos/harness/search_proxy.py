"""An HTTP proxy before the search server, with weather: it can refuse documents, fail, or hang."""

import http.client
import json
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from infrastructure.local.ports import HOST, free_port

# Not to be forwarded as they came; nor is the wish for compression, as answers are read here.
_NOT_FORWARDED = {
    "accept-encoding",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "date",
    "server",
}
_TIMEOUT_SECONDS = 60
_REASONS = {429: "es_rejected_execution_exception", 503: "unavailable_shards_exception"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # who was killed hangs up in the middle
            super().handle_error(request, client_address)


class SearchProxy:
    """Forwards requests to the search server on `target_port`, from threads of its own."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._refused_share, self._refusal_status = 0.0, 429
        self._failure_status = 0
        self._open = threading.Event()
        self._open.set()
        self._holds_bulks_only = False
        self.held_bulks = 0
        """How many bulk requests wait since `hanging` began."""
        self._dice = random.Random(0)
        self._server = _Server((HOST, self.port), self._handler())
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="search-proxy", daemon=True
        )
        self._thread.start()

    @contextmanager
    def refusing_documents(self, share: float, status: int) -> Iterator[None]:
        """Answer `status` (429 or 503) for a `share` of the documents of each bulk; the others pass."""
        self._refused_share, self._refusal_status = share, status
        try:
            yield
        finally:
            self._refused_share = 0.0

    @contextmanager
    def failing(self, status: int) -> Iterator[None]:
        """Answer `status` to everything."""
        self._failure_status = status
        try:
            yield
        finally:
            self._failure_status = 0

    @contextmanager
    def hanging(self, *, bulks_only: bool = False) -> Iterator[None]:
        """Answer nothing, or no bulk; what came in meanwhile goes on afterwards."""
        self.held_bulks = 0
        self._holds_bulks_only = bulks_only
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def close(self) -> None:
        """Stop listening."""
        self._open.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> "Answer":
        """What the platform gets to hear, as the weather is."""
        is_bulk = urlsplit(target).path.endswith("/_bulk")
        if not self._open.is_set() and (is_bulk or not self._holds_bulks_only):
            self.held_bulks += is_bulk
            self._open.wait()
        if self._failure_status:
            return _error(self._failure_status)
        if is_bulk and self._refused_share:
            return self._bulk_in_part(method, target, headers, body)
        return self._forward(method, target, headers, body)

    def _bulk_in_part(self, method: str, target: str, headers: dict[str, str], body: bytes) -> "Answer":
        operations = list(_operations(body))
        passes = [self._dice.random() >= self._refused_share for _ in operations]
        forwarded = b"".join(lines for (_, lines), good in zip(operations, passes, strict=True) if good)
        items = []
        if forwarded:
            answer = self._forward(method, target, headers, forwarded)
            if answer.status != 200:
                return answer
            items = json.loads(answer.body)["items"]
        real = iter(items)
        merged = [
            next(real) if good else self._refusal(action)
            for (action, _), good in zip(operations, passes, strict=True)
        ]
        told = {"took": 1, "errors": not all(passes), "items": merged}
        return Answer(200, _JSON, json.dumps(told).encode())

    def _refusal(self, action: dict[str, Any]) -> dict[str, Any]:
        (name, meta), *_ = action.items()
        status = self._refusal_status
        error = {"type": _REASONS[status], "reason": "the weather"}
        return {
            name: {"_index": meta.get("_index"), "_id": meta.get("_id"), "status": status, "error": error}
        }

    def _forward(self, method: str, target: str, headers: dict[str, str], body: bytes) -> "Answer":
        connection = http.client.HTTPConnection(HOST, self._target_port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            kept = {
                name: value for name, value in response.getheaders() if name.lower() not in _NOT_FORWARDED
            }
            return Answer(response.status, kept, response.read())
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {
                    n: v for n, v in self.headers.items() if n.lower() not in _NOT_FORWARDED | {"host"}
                }
                try:
                    answer = proxy.answer(self.command, self.path, headers, body)
                except (OSError, http.client.HTTPException):  # as if the server itself had dropped us
                    self.close_connection = True
                    return
                try:
                    self.send_response_only(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer.body)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(answer.body)
                except OSError:  # who asked is gone
                    self.close_connection = True

            do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Answer:
    """An HTTP answer, whole."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


_JSON = {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch"}


def _error(status: int) -> Answer:
    error = {
        "error": {"type": _REASONS.get(status, "internal_error"), "reason": "the weather"},
        "status": status,
    }
    return Answer(status, _JSON, json.dumps(error).encode())


def _operations(body: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The operations of a bulk body: the parsed action, and the one or two lines that it takes."""
    lines = iter(line for line in body.split(b"\n") if line)
    for line in lines:
        action = json.loads(line)
        yield action, line + b"\n" if "delete" in action else line + b"\n" + next(lines) + b"\n"
