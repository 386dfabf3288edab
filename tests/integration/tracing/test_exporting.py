"""Spans leave by OTLP; whoever takes them, slowly or not at all, holds up nobody."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from api_store import ApiStore
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from patience import PATIENCE_SECONDS
from traced import CLIENTS_TRACE, purchase, traceparent

from common.tracing.otel import OtelTracing

Until = Callable[..., Any]
QUEUE = 64


class Collector(ThreadingHTTPServer):
    """Takes spans as an OpenTelemetry collector does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def names(self) -> set[tuple[str, str]]:
        return {(service, span.name) for service, span in self.spans}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for found in ExportTraceServiceRequest.FromString(body).resource_spans:
            [service] = [
                attribute.value.string_value
                for attribute in found.resource.attributes
                if attribute.key == "service.name"
            ]
            self.server.spans += [(service, span) for scope in found.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_processes_trace_as_their_environment_says(
    environment: dict[str, str],
    api_store: ApiStore,
    api_tenant: int,
    collector: Collector,
    until: Until,
    tmp_path: Path,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = environment | {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "SSPP_TRACING": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    rq = str(Path(sys.executable).with_name("rq"))
    commands = [[sys.executable, "-m", "api"], [rq, "worker", "ingest"], [rq, "worker", "index"]]
    with ExitStack() as started:
        running = []
        for number, command in enumerate(commands):
            log = started.enter_context((tmp_path / f"{number}.log").open("wb"))
            running.append(subprocess.Popen(command, env=variables, stdout=log, stderr=log))
            started.callback(running[-1].kill)
        url = f"http://127.0.0.1:{port}"
        until(lambda: _answers(url))
        headers = {
            "Authorization": f"Bearer {api_store.key(api_tenant, 'ingest')}",
            "traceparent": traceparent(),
        }
        assert httpx.post(f"{url}/v1/events", json=purchase("e1"), headers=headers).status_code == 202
        expected = {
            ("sspp-api", "POST /v1/events"),
            ("sspp-api", "publish sspp:ingest"),
            ("sspp-worker-ingest", "process sspp:ingest"),
            ("sspp-worker-ingest", "copy_events"),
            ("sspp-worker-index", "process outbox"),
            ("sspp-worker-index", "bulk"),
        }
        until(lambda: expected <= collector.names())
        assert {span.trace_id.hex() for _, span in collector.spans} == {CLIENTS_TRACE}
        for process in running:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(PATIENCE_SECONDS) for process in running] == [-signal.SIGTERM, 0, 0]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url + "/readyz").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(params=["nobody listens", "nobody answers"])
def dead_end(request: pytest.FixtureRequest, unserved_port: int) -> Iterator[str]:
    """Where spans get lost: at once, or after the exporter's patience."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = unserved_port if request.param == "nobody listens" else silent.getsockname()[1]
        yield f"http://127.0.0.1:{port}"


def test_a_collector_that_is_away_fails_no_request_and_fills_no_memory(
    environment: dict[str, str],
    api_store: ApiStore,
    api_tenant: int,
    api_serving: Any,
    dead_end: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", dead_end)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", str(QUEUE))
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", str(QUEUE // 4))
    tracing = OtelTracing("sspp-api")
    [processor] = tracing._provider._active_span_processor._span_processors
    with api_serving(environment, api_store.key(api_tenant, "ingest"), tracing=tracing) as api:
        longest = 0.0
        for number in range(3 * QUEUE):
            started = time.monotonic()
            answer = api.post("/v1/events", content=json.dumps(purchase(f"e{number}")), headers=_HEADERS)
            longest = max(longest, time.monotonic() - started)
            assert answer.status_code == 202
    assert longest < 5  # of the exporter's ten seconds none
    assert len(processor._batch_processor._queue) <= QUEUE

    started = time.monotonic()
    tracing.close()
    assert time.monotonic() - started < 6


_HEADERS = {"Content-Type": "application/json", "traceparent": traceparent()}
