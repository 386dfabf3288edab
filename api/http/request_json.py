"""Small JSON bodies: of the right type, of bounded size, of the right shape."""

from typing import Generic, NamedTuple, TypeVar

import msgspec
from fastapi import Request

from api.http.body import JSON_TYPES
from api.http.errors import ProblemError, invalid_body

MERGE_PATCH = "application/merge-patch+json"

Value = TypeVar("Value", bound=msgspec.Struct)


class Body(NamedTuple, Generic[Value]):
    """A JSON body, as text and as what it means."""

    text: bytes
    value: Value


async def read_json(
    request: Request, *media_types: str, max_bytes: int, struct: type[Value], optional: bool = False
) -> Body[Value]:
    """Read the body as a value of `struct`; ``application/json`` is always fine, `media_types` are too.

    With `optional`, a body that is missing counts as an empty object.

    Raises:
        ProblemError: 408 (too slow), 413 (larger than `max_bytes`), 415 (other media type), 422 (not of that shape)
            or 503 (too many bodies in hand).
    """
    headers = request.headers
    with request.app.state.services.bodies.lease() as lease:
        text = await lease.read(request, max_bytes=max_bytes)
    if not text and optional:
        return Body(b"{}", struct())
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in JSON_TYPES.union(media_types):
        raise ProblemError(
            415,
            "unsupported_media_type",
            f"send application/json, not {media_type or 'a body without Content-Type'}",
        )
    try:
        return Body(text, msgspec.json.decode(text, type=struct))
    except msgspec.DecodeError as error:
        raise invalid_body(error) from None
    except UnicodeDecodeError:
        raise ProblemError(422, "invalid_json", "the body is not valid UTF-8") from None
    except RecursionError:
        raise ProblemError(422, "nesting_too_deep", "the body nests objects and arrays too deeply") from None
