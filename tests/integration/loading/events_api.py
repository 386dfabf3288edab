"""A small server that speaks the contract of the events API, and answers as a test wants it."""

import gzip
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from patience import PATIENCE_SECONDS

KEY = "key-for-tests"
Answer = tuple[int, dict[str, str], dict[str, Any]]


class Api(ThreadingHTTPServer):
    """Keeps what it accepts by id. `answers` are given first, one a request; None answers as usual."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.events: dict[str, dict[str, Any]] = {}
        self.answers: list[Answer | None] = []
        self.requests: list[tuple[str, str, int]] = []
        self.refuse: Callable[[dict[str, Any]], bool] = lambda _event: False
        self.max_events = 10_000
        self.hidden_polls = 0
        self.open = threading.Event()  # while clear, requests wait for their answer
        self.open.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def sizes(self) -> list[int]:
        return [count for method, _path, count in self.requests if method == "POST"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer: without it Nagle's algorithm costs 40 ms each
    server: Api

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        lines = gzip.decompress(body).decode().split("\n")
        api = self.server
        with api.lock:
            api.requests.append(("POST", self.path, len(lines)))
            scripted = api.answers.pop(0) if api.answers else None
        assert self.headers["Content-Type"] == "application/x-ndjson"
        assert self.headers["Content-Encoding"] == "gzip"
        assert self.headers["Prefer"] == "return=minimal"
        api.open.wait(PATIENCE_SECONDS)
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self.answer(problem(401, "unauthorized", "The key is not known."))
        elif scripted:
            self.answer(scripted)
        elif len(lines) > api.max_events:
            self.answer(problem(413, "too_many_events", "Too many events."))
        else:
            receipt = self.take(lines)
            refused = problem(422, "all_events_refused", "None of the events can be accepted.")
            self.answer((202, {}, receipt) if receipt["accepted"] else (*refused[:2], refused[2] | receipt))

    def take(self, lines: list[str]) -> dict[str, Any]:
        rejected = []
        for index, line in enumerate(lines):
            event = json.loads(line)
            if self.server.refuse(event):
                rejected.append({"index": index, "code": "invalid_envelope", "detail": "customer_id is odd"})
                continue
            with self.server.lock:
                self.server.events.setdefault(event["event_id"], event)
        return {"accepted": len(lines) - len(rejected), "rejected": rejected}

    def do_GET(self) -> None:
        event_id = unquote(self.path.removeprefix("/v1/events/"))
        with self.server.lock:
            self.server.requests.append(("GET", event_id, 0))
            hidden = self.server.hidden_polls > 0
            self.server.hidden_polls -= 1
        found = not hidden and event_id in self.server.events
        self.answer(
            (200, {}, {"status": "stored"}) if found else problem(404, "not_found", "Not stored yet.")
        )

    def answer(self, answer: Answer) -> None:
        status, headers, content = answer
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


def problem(status: int, code: str, detail: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
    return status, {"Content-Type": "application/problem+json"} | named, content
