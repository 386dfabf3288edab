"""JSON answers, their header fields, and pages of lists."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from fastapi import Response

from api.http.cursors import encode_cursor

ANSWER_FIELDS = "sspp.answer_fields"
"""Where the scope of a request lists header fields that its answer gets, whatever that will be."""

Row = TypeVar("Row")
_encode = msgspec.json.Encoder().encode


def json_response(body: object, *, status: int = 200) -> Response:
    """`body`, encoded by msgspec, as the answer."""
    return Response(_encode(body), status, media_type="application/json")


def cut_page(
    rows: Sequence[Row], limit: int, scope: Sequence[object], position: Callable[[Row], Sequence[object]]
) -> tuple[Sequence[Row], str | None]:
    """The page out of up to `limit` + 1 rows, and the cursor to the next page if there is one.

    Args:
        rows: what was found when asked for one more than fits.
        limit: how many fit.
        scope: which list this is, see `encode_cursor`.
        position: the sort key of a row.
    """
    if len(rows) <= limit:
        return rows, None
    page = rows[:limit]
    return page, encode_cursor(position(page[-1]), scope)
