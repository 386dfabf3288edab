"""The OpenAPI document: generated from the routes, with the answers' shapes taken from their structs."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.http.errors import PROBLEM_TYPE, Problem

Responses = dict[int | str, dict[str, Any]]

DESCRIPTION = """\
Send the events of your systems; read, search and act on the signals that they mean.

An event counts once per `event_id`, however often it is sent. Lists answer `{"items": […], "next_cursor": …}`:
pass `next_cursor` on as `cursor`, with the same filters, until it is null. Errors are problem details
(RFC 9457) with a stable `code`.
"""

TAGS = [
    {"name": "events", "description": "What your systems report, and what became of it."},
    {"name": "signals", "description": "What the events mean."},
    {"name": "customers", "description": "Whom the signals are about, and what they add up to."},
    {"name": "people", "description": "To erase, suppress and export what is held of a customer."},
    {"name": "refusals", "description": "Events that were refused, and how to send them through again."},
    {"name": "event types", "description": "What events may look like."},
    {"name": "administration", "description": "Tenants, their API keys, what they may use and have used."},
    {"name": "operations", "description": "For monitoring; no key needed."},
]

_REF = "#/components/schemas/{name}"
_structs: dict[str, type[msgspec.Struct]] = {"Problem": Problem}


def answer(
    struct: type[msgspec.Struct], example: Mapping[str, Any], *, status: int = 200, description: str = ""
) -> Responses:
    """The documentation of a successful JSON answer, for a route's ``responses``."""
    content = {"application/json": {"schema": _reference(struct), "example": example}}
    return {status: {"description": description or (struct.__doc__ or "").strip(), "content": content}}


def page_answer(struct: type[msgspec.Struct], item: Mapping[str, Any]) -> Responses:
    """The documentation of a page of a list, the last one, with an example of its items."""
    return answer(struct, {"items": [item], "next_cursor": None})


def problems(*statuses: int) -> Responses:
    """The documentation of the problems that a route may answer, for its ``responses``.

    Where a key is asked for, 429 is among them: its tenant's plan may have limits.
    """
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_TYPE: {"schema": _reference(Problem)}},
            **(
                {"headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "In seconds."}}}
                if status in (429, 503)
                else {}
            ),
        }
        for status in sorted({*statuses, *((429,) if 401 in statuses else ())})
    }


def request_body(
    struct: type[msgspec.Struct], example: Mapping[str, Any], *media_types: str, required: bool = True
) -> dict[str, Any]:
    """The documentation of a JSON body that the route decodes by itself, for its ``openapi_extra``."""
    content = {"schema": _reference(struct), "example": example}
    return {
        "requestBody": {
            "required": required,
            "content": dict.fromkeys(media_types or ("application/json",), content),
        }
    }


def install_openapi(app: FastAPI) -> None:
    """Make `app` answer its document with the structs' schemas in it; it is built once, when first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                tags=app.openapi_tags,
                routes=app.routes,
            )
            _, schemas = msgspec.json.schema_components(_structs.values(), ref_template=_REF)
            document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _reference(struct: type[msgspec.Struct]) -> dict[str, str]:
    _structs[struct.__name__] = struct
    return {"$ref": _REF.format(name=struct.__name__)}
