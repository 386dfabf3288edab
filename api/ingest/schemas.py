"""What POST /v1/events takes and answers, as code and as documentation."""

from typing import Annotated, Any

import msgspec

from api.http.openapi import request_body


class Refusal(msgspec.Struct, frozen=True):
    """Why the event at `index` of a request, counted from 0, was refused; `path` points to the field."""

    index: int
    code: str
    detail: str
    path: str


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a request of which at least one event was accepted; ids are in the order of the events."""

    accepted: int
    rejected: list[Refusal]
    event_ids: list[str] | msgspec.UnsetType = msgspec.UNSET


class EventToSend(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event: the envelope, and `data` as its type's schema has it (`GET /v1/event-types`)."""

    event_type: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_.]{0,99}$")]
    customer_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    data: dict[str, Any]
    event_id: Annotated[
        str | msgspec.UnsetType,
        msgspec.Meta(
            description="1 to 200 characters; what is sent again under the same id is the same event."
            " Made up if absent: then a repeated request is a new event."
        ),
    ] = msgspec.UNSET
    occurred_at: Annotated[
        str | msgspec.UnsetType,
        msgspec.Meta(description="RFC 3339, year 1 to 9999; the time of reception if absent."),
    ] = msgspec.UNSET
    trace_id: Annotated[
        str | msgspec.UnsetType, msgspec.Meta(description="1 to 200 characters; find events by it.")
    ] = msgspec.UNSET


_EXAMPLE = {
    "event_id": "shop:order:1042",
    "event_type": "purchase",
    "customer_id": "c-1",
    "occurred_at": "2026-11-21T10:30:00Z",
    "data": {"amount": "19.90", "currency": "USD"},
}


def _request_body() -> dict[str, Any]:
    documented = request_body(EventToSend, _EXAMPLE)
    content = documented["requestBody"]["content"]
    event = content["application/json"]["schema"]
    content["application/json"] = {
        "schema": {"oneOf": [event, {"type": "array", "minItems": 1, "items": event}]},
        "examples": {
            "one event": {"value": _EXAMPLE},
            "several events": {"value": [_EXAMPLE, {**_EXAMPLE, "event_id": "shop:order:1043"}]},
        },
    }
    line = msgspec.json.encode(_EXAMPLE).decode()
    content["application/x-ndjson"] = {
        "schema": {"type": "string", "description": "One event a line."},
        "example": f"{line}\n",
    }
    return {
        **documented,
        "parameters": [
            {
                "name": "Prefer",
                "in": "header",
                "schema": {"type": "string"},
                "description": "`return=minimal` leaves the event ids out of the answer (RFC 7240).",
            },
            {
                "name": "Content-Encoding",
                "in": "header",
                "schema": {"type": "string", "examples": ["gzip", "identity"]},
                "description": "Limits hold for the body as sent and as decompressed.",
            },
        ],
    }


REQUEST_BODY = _request_body()
"""The documentation of the request, for the route's ``openapi_extra``."""

RECEIPT_EXAMPLE = {
    "accepted": 1,
    "event_ids": ["shop:order:1042"],
    "rejected": [
        {
            "index": 1,
            "code": "invalid_envelope",
            "detail": "Object missing required field 'customer_id'",
            "path": "",
        }
    ],
}
