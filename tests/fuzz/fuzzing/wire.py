"""HTTP/1.1 byte for byte: a request is sent exactly as it is written, however wrong it is."""

import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import httptools

_TIMEOUT_SECONDS = 30.0


@dataclass
class Answer:
    """What came back; `status` 0 means that the server closed the connection without an answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]


class Connection:
    """A connection that is kept open from request to request, and opened anew where the server closed it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def exchange(
        self, request: bytes | Sequence[bytes], *, half_close: bool = False, pause_seconds: float = 0
    ) -> Answer:
        """Send `request`, in pieces if it is several, and read one answer.

        A server that answers early and hangs up is heard nevertheless. With `half_close` nothing follows the
        request: it ends where it ends.
        """
        pieces = [request] if isinstance(request, bytes) else request
        reused = self._socket is not None
        answer, closed = self._attempt(pieces, half_close=half_close, pause_seconds=pause_seconds)
        if reused and answer.status == 0:
            # An idle connection may be closed at any moment, which says nothing on this request.
            answer, closed = self._attempt(pieces, half_close=half_close, pause_seconds=pause_seconds)
        if closed or half_close or answer.status == 0:
            self.close()
        return answer

    def close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None

    def _attempt(
        self, pieces: Sequence[bytes], *, half_close: bool, pause_seconds: float
    ) -> tuple[Answer, bool]:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=_TIMEOUT_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for number, piece in enumerate(pieces):
                if number and pause_seconds:
                    time.sleep(pause_seconds)
                self._socket.sendall(piece)
            if half_close:
                self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it stopped listening; it may have said why
        reader = _Reader(bodiless=pieces[0].startswith(b"HEAD "))
        closed = reader.read(self._socket)
        if closed:
            self.close()
        return reader.answer, closed


class _Reader:
    """Callbacks of httptools that gather one answer."""

    def __init__(self, *, bodiless: bool) -> None:
        self.answer = Answer()
        self._bodiless = bodiless
        self._done = False
        self._parser = httptools.HttpResponseParser(self)

    def read(self, connection: socket.socket) -> bool:
        """Read until the answer is complete; True if the connection cannot be used again."""
        while not self._done:
            try:
                data = connection.recv(1 << 18)
            except ConnectionError:
                return True
            if not data:
                return True
            self._parser.feed_data(data)
        return self._bodiless or not self._parser.should_keep_alive()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.answer.status = self._parser.get_status_code()
        self._done = self._bodiless

    def on_body(self, body: bytes) -> None:
        self.answer.body += body

    def on_message_complete(self) -> None:
        if self.answer.status < 200:  # 100 Continue: the answer is yet to come
            self.answer = Answer()
        else:
            self._done = True


def request_bytes(
    method: str,
    target: bytes | str,
    headers: Iterable[tuple[bytes | str, bytes | str]] = (),
    body: bytes | None = None,
) -> bytes:
    """A well-formed request around whatever `target` and header values are."""
    lines = [method.encode() + b" " + _bytes(target) + b" HTTP/1.1", b"host: fuzz"]
    lines += [_bytes(name) + b": " + _bytes(value) for name, value in headers]
    if body is not None:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
