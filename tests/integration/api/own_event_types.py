"""A tenant's own event types: how to register and change them, and what becomes of events of theirs."""

import json
from typing import Any

import httpx

SEVEN = 7
VISIT = "/v1/event-types/visit"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Somebody came.",
    "properties": {
        "store": {"type": "string"},
        "items": {"items": {"properties": {"price": {"minimum": 0}}}},
    },
    "required": ["store"],
}


def put(client: httpx.Client, schema: Any = SCHEMA, *, name: str = "visit", **more: Any) -> httpx.Response:
    return client.put(f"/v1/event-types/{name}", json={"schema": schema, **more})


def change(client: httpx.Client, version: int, status: str) -> httpx.Response:
    return client.patch(f"{VISIT}/versions/{version}", json={"status": status})


def first_version(name: str, schema: Any, **told: Any) -> dict[str, Any]:
    """How the API shows it to its tenant, but for when it was made."""
    return {
        "name": name,
        "version": 1,
        "status": "active",
        "description": "",
        "owner": "tenant",
        "signal_type": "engagement",
        "signal_score": 0.4,
        "schema": schema,
    } | told


def send(pipeline: Any, *data: Any, first: int = 0, tenant: int = SEVEN, event_type: str = "visit") -> None:
    """Events e0, e1 and so on through the queue and a worker."""
    events = [
        {"event_id": f"e{number}", "event_type": event_type, "customer_id": "c1", "data": each}
        for number, each in enumerate(data, first)
    ]
    pipeline.push(*(json.dumps(event).encode() for event in events), tenant=tenant)
    pipeline.drain()


def stored(pipeline: Any) -> list[str]:
    return [row["event_id"] for row in pipeline.rows("SELECT event_id FROM events ORDER BY 1")]


def refused(pipeline: Any) -> dict[str, str]:
    rows = pipeline.rows("SELECT event_id, code FROM rejected_events WHERE status = 'open'")
    return {row["event_id"]: row["code"] for row in rows}
