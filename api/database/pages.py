"""What routes read from PostgreSQL: one thing, or a page of a list."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from psycopg_pool import AsyncConnectionPool

from api.database.fetching import Row, fetch_all, fetch_one
from api.http.cursors import decode_cursor
from api.http.errors import not_found
from api.http.parameters import PageQuery
from api.http.responses import cut_page


async def fetch_found(
    database: AsyncConnectionPool,
    statement: LiteralString,
    parameters: Mapping[str, object],
    *,
    else_tell: str,
) -> Row:
    """Like `fetch_one`, for what the request is about.

    Raises:
        ProblemError: 404, with `else_tell` as its detail; there is no such row.
        ShedError: as by `fetch_all`.
        DatabaseUnavailableError: as by `fetch_all`.
    """
    row = await fetch_one(database, statement, parameters)
    if row is None:
        raise not_found(else_tell)
    return row


async def fetch_page(
    database: AsyncConnectionPool,
    statement: LiteralString,
    parameters: Mapping[str, object],
    query: PageQuery,
    scope: Sequence[object],
    position: type[tuple[Any, ...]],
    **after: str,
) -> tuple[Sequence[Row], str | None]:
    """The rows of the page that `query` asks for, and the cursor to the next page if there is one.

    Args:
        database: see `fetch_all`.
        statement: finds ``limit`` rows, in order, after the place that the names of `after` give, which are null at
            the beginning.
        parameters: what else it takes, ``tenant_id`` among it.
        query: which page.
        scope: which list this is, see `encode_cursor`.
        position: the type of a row's place, with as many elements as `after`.
        after: by each name, the column that has this element of the place.

    Raises:
        ProblemError: 422; the cursor is none of this list.
        ShedError: as by `fetch_all`.
        DatabaseUnavailableError: as by `fetch_all`.
    """
    place: Sequence[Any] = (
        decode_cursor(query.cursor, scope, position) if query.cursor else [None] * len(after)
    )
    bounds = dict(zip(after, place, strict=True))
    rows = await fetch_all(database, statement, {**parameters, **bounds, "limit": query.limit + 1})
    return cut_page(rows, query.limit, scope, lambda row: [row[column] for column in after.values()])
