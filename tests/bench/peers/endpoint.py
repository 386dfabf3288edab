"""The endpoint that all peers share: it takes one event and enqueues one job."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Request


async def _body(request: Request) -> bytes:
    return await request.body()


def make_app(enqueue: Callable[[str, str], object]) -> FastAPI:
    """The application around `enqueue`, which is called with an event's JSON and the instant of its reception.

    The route is no coroutine, as the queues' clients block: FastAPI runs it in a pool of threads.
    """
    app = FastAPI()

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/events", status_code=202)
    def post_event(raw: Annotated[bytes, Depends(_body)]) -> dict[str, int]:
        enqueue(raw.decode(), datetime.now(UTC).isoformat())
        return {"accepted": 1}

    return app
