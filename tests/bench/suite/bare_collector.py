"""A collector of traces that counts what it is sent, and keeps nothing: the least that a recording process sends to."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

_Message = dict[str, Any]

_received = 0


async def app(
    scope: _Message,
    receive: Callable[[], Awaitable[_Message]],
    send: Callable[[_Message], Awaitable[None]],
) -> None:
    """Answer 200 to everything; the body is how many bytes have been posted so far."""
    global _received  # noqa: PLW0603 - all that this process has to remember
    more = True
    while more:
        message = await receive()
        _received += len(message.get("body", b""))
        more = message.get("more_body", False)
    # An exporter takes an empty answer for full success, and anything else for a message of OTLP.
    body = str(_received).encode() if scope["method"] == "GET" else b""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(
        app,
        host=os.environ["SSPP_HOST"],
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
