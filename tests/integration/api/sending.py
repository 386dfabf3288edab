"""Events to be sent, how to send them to an API with a key, and how it refuses them for now."""

import json
from typing import Any

import httpx
import pytest

NDJSON = {"Content-Type": "application/x-ndjson"}


EVENT: dict[str, Any] = {
    "event_id": "e1",
    "event_type": "purchase",
    "customer_id": "c1",
    "data": {"amount": 1},
}


def event(event_id: str, **changes: Any) -> dict[str, Any]:
    return EVENT | {"event_id": event_id} | changes


def events(count: int, prefix: str = "e", size: int = 200) -> bytes:
    """NDJSON of so many valid events, each a little larger than `size` bytes."""
    return b"\n".join(
        json.dumps(
            {
                "event_id": f"{prefix}-{number}",
                "event_type": "purchase",
                "customer_id": "c1",
                "data": {"amount": 1, "currency": "USD", "note": "x" * size},
            }
        ).encode()
        for number in range(count)
    )


def bearer(key: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {key}"}


def send(api: httpx.Client, body: bytes, key: str | None = None) -> httpx.Response:
    return api.post("/v1/events", content=body, headers=NDJSON | (bearer(key) if key else {}))


def problem(answer: httpx.Response) -> tuple[int, str] | None:
    """What a refusal for now says, its status and its code; None of what was accepted."""
    if answer.is_success:
        return None
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    return answer.status_code, answer.json()["code"]


def fill(api: httpx.Client, key: str | None = None, tries: int = 50) -> tuple[int, httpx.Response]:
    """Send until it is refused; returns how many events were accepted, and the refusal."""
    accepted = 0
    for number in range(tries):
        answer = send(api, events(10, f"{key}-{number}"), key)
        if answer.status_code != 202:
            return accepted, answer
        accepted += 10
    pytest.fail("was never refused")
