"""An events API for the tests here, which can import its module and that of the command."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from events_api import KEY, Api


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    server = Api()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    monkeypatch.setenv("SSPP_API_URL", server.url)
    monkeypatch.setenv("SSPP_API_KEY", KEY)
    yield server
    server.open.set()
    server.shutdown()
    server.server_close()
    thread.join()
