"""Search may be slow or hang: storing takes no notice, and the index catches up."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from patience import PATIENCE_SECONDS

from common.drain import Drain
from common.services import Services, open_services
from common.settings import load_settings
from worker.stages import Stages


class Gate:
    """A way to the search server that lets requests through at once, and answers only while it is open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.open = threading.Event()
        self.withheld = threading.Event()
        """Set once an answer waits."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.open.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        with server, contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while data := server.recv(65536):
                if not self.open.is_set():
                    self.withheld.set()
                    self.open.wait()
                client.sendall(data)


@pytest.fixture
def gate(elasticsearch_url: str) -> Iterator[Gate]:
    gate = Gate(elasticsearch_url)
    yield gate
    gate.close()


@pytest.fixture
def services(pipeline: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    changes = {"ELASTICSEARCH_URL": gate.url, "SSPP_DRAIN_LINGER_SECONDS": "0", "SSPP_BATCH_EVENTS": "50"}
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    with open_services(load_settings(), application="test") as services:
        yield services


def drain(services: Services, queue: str, name: str) -> int:
    stage = Stages(services).build(queue, name)
    run = Drain(
        stage,
        name=name,
        client=services.redis,
        waker=services.waker,
        metrics=services.metrics,
        settings=services.settings,
        stop=lambda: False,
    )
    return run.run()


def purchases(prefix: str, count: int) -> list[bytes]:
    event = {"event_type": "purchase", "customer_id": "c1", "data": {"amount": "1.00", "currency": "USD"}}
    return [json.dumps(event | {"event_id": f"{prefix}-{number}"}).encode() for number in range(count)]


def test_a_search_server_that_does_not_answer_holds_up_no_storing(
    pipeline: Any, services: Services, gate: Gate
) -> None:
    pipeline.push(*purchases("first", 20))
    assert drain(services, "ingest", "ingest-1") == 20
    indexing = threading.Thread(target=drain, args=(services, "index", "index-1"), daemon=True)
    indexing.start()
    assert gate.withheld.wait(PATIENCE_SECONDS), "the index stage has not asked the search server"

    for batch in range(5):
        pipeline.push(*purchases(f"batch-{batch}", 100))
        assert drain(services, "ingest", f"ingest-{batch + 2}") == 100

    assert pipeline.value("SELECT count(*) FROM signals") == 520
    assert pipeline.value("SELECT count(*) FROM outbox WHERE indexed_at IS NOT NULL") == 0
    assert indexing.is_alive()

    gate.open.set()
    indexing.join(60)
    while drain(services, "index", "index-2"):
        pass
    assert pipeline.value("SELECT count(*) FROM outbox WHERE indexed_at IS NULL") == 0
    services.search.indices.refresh(index="signals")
    assert services.search.count(index="signals")["count"] == 520
