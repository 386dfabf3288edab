"""HTTP/1.1 as uvicorn speaks it, with bounds on what clients may do outside of bodies, and problems as answers."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.body import BODY_ARRIVED
from api.http.errors import ProblemError
from api.http.refused_heads import RefusedHeads
from api.http.security_headers import SecurityHeaders

MAX_HEAD_BYTES = 64 * 1024
"""Most bytes of a request's first line and headers together; those of trailers and chunk extensions likewise."""

HEAD_SECONDS = 30.0
"""How long the first line and the headers of a request may take to arrive."""

STALL_SECONDS = 60.0
"""How long a client may leave an answer lying that is too large for the buffers in between, in seconds."""

_LEAST_READ_BYTES = 16 * 1024  # in that time: a byte now and then would hold the answer as well

_NOBODYS_HEADS = RefusedHeads(SecurityHeaders())  # of an app that is not ours, or has not started

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses heads that are too large (431) or too slow (408), which uvicorn would gather for as long as they come.

    What breaks HTTP itself is answered with a problem too. In either case the connection ends, and so does that of a
    client which asks for much and does not read it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle_bytes = 0  # received in a row without completing a head or any of a body
        self._in_head = False
        self._refused = False
        self._deadline: asyncio.TimerHandle | None = None
        self._read_check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows what asyncio declares
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self._stop_watching_reader()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The buffers are full: see to it that the client reads."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The client has read."""
        self._stop_watching_reader()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take in some bytes, unless there are too many of the kind that only fills memory."""
        if self._refused:
            return
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._idle_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        elif self._deadline is None and not self._refused and (self._in_head or self._is_answered()):
            # Most heads arrive in one piece and need no timer. But an idle connection needs it when something arrives
            # that begins no request, an empty line for instance: uvicorn's own timer is gone then.
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """The head is there: go on if its size is fine."""
        self._stop_waiting()
        self._in_head = False
        self._idle_bytes = 0
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse_head()
        else:
            before = self.cycle
            super().on_headers_complete()
            if self.cycle is not before and self.scope["method"] != "HEAD":
                self.cycle.transport = _JoinedHead(self.transport)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """Some of the body is there."""
        self._idle_bytes = 0
        self._stop_waiting()  # it may have been answered already, so that only the next head is waited for
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request ends."""
        self._idle_bytes = 0
        if not self._refused:
            if self.cycle is not None and not self.cycle.response_started:
                self.scope["extensions"] = {BODY_ARRIVED: {}}
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(ProblemError(400, "bad_request", msg))

    def _refuse_head(self) -> None:
        detail = f"the request line and the headers may have at most {MAX_HEAD_BYTES} bytes"
        self._refuse(ProblemError(431, "headers_too_large", detail))

    def _refuse(self, problem: ProblemError) -> None:
        """Answer with `problem` and hang up."""
        self._stop_waiting()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        if self._may_answer():
            services = getattr(getattr(self.app, "state", None), "services", None)
            refused_heads = services.refused_heads if services else _NOBODYS_HEADS
            self.transport.write(refused_heads.answer(problem))
        if self.cycle is not None:
            # Whoever still works on the request learns that nobody waits for its answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _is_answered(self) -> bool:
        """Whether every request that came has its answer."""
        return self.cycle is None or self.cycle.response_complete

    def _may_answer(self) -> bool:
        """Whether no other answer is on its way, which this one would garble."""
        return not self.pipeline and (self._is_answered() or not self.cycle.response_started)

    def _wait_for_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._read_check = self.loop.call_later(STALL_SECONDS, self._check_reader, unread)

    def _stop_watching_reader(self) -> None:
        if self._read_check is not None:
            self._read_check.cancel()
            self._read_check = None

    def _check_reader(self, unread_before: int) -> None:
        if self.transport.get_write_buffer_size() > unread_before - _LEAST_READ_BYTES:
            self.transport.abort()
        else:
            self._watch_reader()

    def _give_up(self) -> None:
        if not self._in_head:  # there is no request to answer
            self.transport.close()
            return
        detail = f"the request line and the headers did not arrive within {HEAD_SECONDS:g} seconds"
        self._refuse(ProblemError(408, "request_timeout", detail))


class _JoinedHead:
    """A transport that sends an answer's head with the first of its body: one system call and packet instead of two.

    ASGI has servers hold the head back until then anyway.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._joined = False
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if self._joined or data == _CONTINUE:
            self._transport.write(data)
        elif self._head:
            self._joined = True
            self._transport.write(self._head + data)
        else:
            self._head = data

    def close(self) -> None:
        if self._head and not self._joined:
            self._transport.write(self._head)
        self._transport.close()
