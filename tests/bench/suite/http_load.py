"""Sends single events over HTTP, each in a request of its own, and cheaply, so that it is not what is measured.

Run by the scenarios in a process of its own: a `Load` as JSON comes in on standard input, a `Sent` goes out.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from suite.events import Workload

_HEAD = (
    "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    "Content-Length: {length}\r\n\r\n"
)
_LONGEST_SECONDS = 300


class Load(msgspec.Struct, frozen=True):
    """What to send, and how.

    Without `per_second` each connection sends its next request when the last one is answered. With it, requests fall
    due at random that often on average, whether or not earlier ones are answered: a stall of the server is not hidden.
    The first `uncounted` requests are not part of the figures. With `all_new`, no event repeats another and none is
    refused. `count` is that of requests; with `events_per_request`, each has so many events, as an array. With
    `may_be_refused`, 429 is as good an answer as 202.
    """

    url: str
    key: str
    workload: str
    count: int
    connections: int = 64
    uncounted: int = 0
    per_second: float | None = None
    all_new: bool = False
    events_per_request: int = 1
    may_be_refused: bool = False


class Sent(msgspec.Struct, frozen=True):
    """What came of it, of the counted requests, in their order; instants are those of `time.monotonic`."""

    due: list[float]
    answered: list[float]

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.answered) / (max(self.answered) - min(self.due))


def send(load: Load) -> Sent:
    """Send `load` from a process of its own.

    Raises:
        subprocess.CalledProcessError: an answer was no 202, or there was none.
    """
    done = subprocess.run(
        [sys.executable, __file__], input=msgspec.json.encode(load), stdout=subprocess.PIPE, check=True
    )
    return msgspec.json.decode(done.stdout, type=Sent)


class _Sender:
    """Hands the requests to whichever connection is free."""

    def __init__(self, load: Load) -> None:
        url = urlsplit(load.url)
        self.address = (url.hostname, url.port)
        self.load = load
        workload = Workload(load.workload, duplicates=not load.all_new, refused=not load.all_new)
        each = load.events_per_request
        bodies = [event.raw for event in workload.events(load.count * each)]
        if each > 1:
            bodies = [b"[%s]" % b",".join(bodies[at : at + each]) for at in range(0, len(bodies), each)]
        self.answers = (b"HTTP/1.1 202 ", b"HTTP/1.1 429 ") if load.may_be_refused else (b"HTTP/1.1 202 ",)
        heads = {
            length: _HEAD.format(path=url.path, host=url.netloc, key=load.key, length=length).encode()
            for length in {len(body) for body in bodies}
        }
        self.requests = [heads[len(body)] + body for body in bodies]
        self.due = [0.0] * load.count
        self.answered = [0.0] * load.count
        self.waiting: deque[int] = deque()
        self.free: deque[_Connection] = deque()  # in turns: an idle one would be closed by the server
        self.left = load.count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self.load.connections):
            await loop.create_connection(lambda: _Connection(self), *self.address)
        if self.load.per_second is None:
            self.waiting.extend(range(self.load.count))
            while self.free and self.waiting:
                self.free.popleft().send(self.waiting.popleft())
        else:
            schedule = asyncio.create_task(self._schedule(self.load.per_second))
        async with asyncio.timeout(_LONGEST_SECONDS):
            await self.done
        if self.load.per_second is not None:
            await schedule

    async def _schedule(self, per_second: float) -> None:
        dice = random.Random(self.load.workload)
        due = time.monotonic()
        for number in range(self.load.count):
            due += dice.expovariate(per_second)
            await asyncio.sleep(due - time.monotonic())
            self.due[number] = time.monotonic()  # the timer's own delay is not the server's
            if self.free:
                self.free.popleft().send(number)
            else:
                self.waiting.append(number)

    def settle(self, connection: "_Connection", number: int) -> None:
        self.answered[number] = time.monotonic()
        self.left -= 1
        if self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.free.append(connection)
            if not self.left and not self.done.done():
                self.done.set_result(None)

    def fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(why))


class _Connection(asyncio.Protocol):
    """One keep-alive connection, with one request at a time."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self._buffer = b""
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = transport.write  # type: ignore[attr-defined]
        self._sender.free.append(self)

    def send(self, number: int) -> None:
        self._number = number
        if self._sender.load.per_second is None:
            self._sender.due[number] = time.monotonic()
        self._write(self._sender.requests[number])

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(self._sender.answers):
            self._sender.fail(f"the answer is no 202: {self._buffer[:1000]!r}")
            return
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        if len(body) < int(length):
            return
        self._buffer = b""
        self._sender.settle(self, self._number)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sender.fail(f"the server hung up: {exc}")


async def _main() -> None:
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    sender = _Sender(load)
    await sender.run()
    sent = Sent(sender.due[load.uncounted :], sender.answered[load.uncounted :])
    sys.stdout.buffer.write(msgspec.json.encode(sent))


if __name__ == "__main__":
    uvloop.run(_main())
