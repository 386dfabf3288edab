"""Processes of the platform with whatever environment a test wants, and TLS in front of the servers."""

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from patience import PATIENCE_SECONDS

from infrastructure.local.ports import HOST, free_port

RQ = str(Path(sys.executable).with_name("rq"))
COMMANDS = {
    "api": (sys.executable, "-m", "api"),
    **{queue: (RQ, "worker", queue) for queue in ("ingest", "index", "maintenance")},
}
# PostgreSQL's clients ask for TLS by these bytes; the answer is one letter.
SSL_REQUEST = bytes.fromhex("00000008 04d2162f")


class Started:
    """A process of the platform: its output, and where it answers if it is an API."""

    def __init__(
        self, name: str, environment: Mapping[str, str], log: Path, command: tuple[str, ...]
    ) -> None:
        self.url = f"http://{HOST}:{environment['PORT']}"
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [*COMMANDS[name], *command], env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def answers(self) -> bool:
        assert self.process.poll() is None, self.output
        try:
            return httpx.get(self.url + "/readyz").is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts ``api`` or the worker of a queue, with more arguments and changes of the environment."""
    running: list[Started] = []

    def start(name: str, *arguments: str, **changes: str) -> Started:
        usual = {"PATH": os.environ["PATH"], "PORT": str(free_port()), "LOG_FORMAT": "json"}
        log = tmp_path / f"{len(running)}-{name}.log"
        running.append(Started(name, usual | environment | changes, log, arguments))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.wait()


class TlsDoor:
    """A port that speaks TLS and passes on what it hears to a server that does not, from a thread of its own."""

    def __init__(self, target: tuple[str, int], context: ssl.SSLContext, *, is_asked_first: bool) -> None:
        self._target = target
        self._context = context
        self._is_asked_first = is_asked_first
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(PATIENCE_SECONDS)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        tls = None if self._is_asked_first else self._context
        self._server = await asyncio.start_server(self._welcome, HOST, self.port, ssl=tls)

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if self._is_asked_first:
                if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                    writer.close()  # who does not ask gets nothing
                    return
                writer.write(b"S")
                await writer.start_tls(self._context)
            inner_reader, inner_writer = await asyncio.open_connection(*self._target)
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()


@pytest.fixture
def tls_door() -> Iterator[Callable[..., int]]:
    """Opens a port that speaks TLS before the server of a URL; returns its number."""
    doors: list[TlsDoor] = []

    def open_door(url: str, context: ssl.SSLContext) -> int:
        parts = urlsplit(url)
        target = (parts.hostname or HOST, parts.port or 0)
        doors.append(TlsDoor(target, context, is_asked_first=parts.scheme.startswith("postgres")))
        return doors[-1].port

    yield open_door
    for door in doors:
        door.close()
