"""A TCP proxy before PostgreSQL: makes it slow, drops its connections, and knows whose backend is whose."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from infrastructure.local.ports import HOST, free_port

_CHUNK_BYTES = 64 * 1024


class PostgresProxy:
    """Forwards connections to PostgreSQL on `target_port`, from a thread of its own.

    Every process of the platform gets a door of its own, a port, so that of the backends that PostgreSQL lists
    by `client_port` each can be told whose it is.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._delay_seconds = 0.0
        self._owners: dict[int, str] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postgres-proxy", daemon=True)
        self._thread.start()

    def door(self, owner: str) -> int:
        """Open a port for the process `owner` and return its number."""
        port = free_port()
        asyncio.run_coroutine_threadsafe(self._listen(port, owner), self._loop).result(10)
        return port

    def owner(self, client_port: int) -> str | None:
        """Whose backend it is that PostgreSQL sees connected from `client_port`; None if none of ours."""
        return self._owners.get(client_port)

    @contextmanager
    def slow(self, delay_seconds: float) -> Iterator[None]:
        """Hold up every chunk, in both directions, by `delay_seconds`."""
        self._delay_seconds = delay_seconds
        try:
            yield
        finally:
            self._delay_seconds = 0.0

    def drop_connections(self) -> None:
        """Reset all connections; new ones are welcome."""

        def reset() -> None:
            for writer in self._writers:
                writer.transport.abort()

        self._loop.call_soon_threadsafe(reset)

    def close(self) -> None:
        """End all connections and the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        for task in (mine := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)

    async def _listen(self, port: int, owner: str) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._forward(owner, reader, writer)

        server = await asyncio.start_server(serve, HOST, port)
        self._keep(asyncio.ensure_future(server.serve_forever()))

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, owner: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(asyncio.current_task())
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            writer.transport.abort()
            return
        own_port = server_writer.get_extra_info("sockname")[1]
        self._owners[own_port] = owner
        pair = {writer, server_writer}
        self._writers |= pair
        for each in pair:
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.gather(self._pump(reader, server_writer), self._pump(server_reader, writer))
        finally:
            self._writers -= pair
            self._owners.pop(own_port, None)
            for each in pair:
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                writer.write(chunk)
                await writer.drain()
        # Whichever side ended, an end is an end: neither half of these connections lives without the other.
        writer.close()
