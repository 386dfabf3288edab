"""JSON answers, and pages of lists."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from fastapi import Response

from api.http.cursors import encode_cursor

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
