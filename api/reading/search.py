"""GET /v1/search: full text, from Elasticsearch."""

import re
from typing import Annotated

import msgspec
from elasticsearch import BadRequestError
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from api.access.auth import Principal, requires
from api.http.cursors import decode_cursor
from api.http.errors import invalid_parameter
from api.http.openapi import answer, problems
from api.http.parameters import SignalQuery, check_query_text
from api.http.responses import cut_page, json_response
from api.reading.schemas import FoundSignal, SearchPage
from api.reading.signals import EXAMPLE
from common.search.query import Hit, SearchRequest

MAX_WORDS = 32
"""Most words of a search: each costs the server a look through its index, and nobody types more."""

# Scripts that put no spaces between words are indexed by the character.
_WORD = re.compile(r"[\u2e80-\ud7af\uf900-\ufaff]|[^\W\u2e80-\ud7af\uf900-\ufaff]+")

router = APIRouter(prefix="/v1/search", tags=["signals"], dependencies=[Depends(check_query_text)])
_decode = msgspec.json.Decoder(FoundSignal).decode


class SearchQuery(SignalQuery):
    """A page of search results."""

    q: str = Field(
        "",
        max_length=500,
        description='Words that must all occur, a "phrase", a prefix*, -without, this | that; or an exact id.',
        examples=["enterprise demo"],
    )


@router.get(
    "",
    summary="Search signals",
    responses={
        **answer(
            SearchPage,
            {
                "total": 1,
                "items": [{**EXAMPLE, "highlight": {"text": ["07592 <em>purchase</em> revenue 49.90 USD"]}}],
                "facets": {"event_type": {"purchase": 1}, "signal_type": {"revenue": 1}},
                "next_cursor": None,
            },
        ),
        **problems(401, 403, 422, 503),
    },
)
async def search(
    request: Request,
    query: Annotated[SearchQuery, Query()],
    principal: Annotated[Principal, Depends(requires("read"))],
) -> Response:
    """Signals that contain all words of `q` and pass the filters, newest first.

    The index follows the database by a moment.
    """
    if len(_WORD.findall(query.q)) > MAX_WORDS:
        raise invalid_parameter("q", f"takes at most {MAX_WORDS} words")
    scope = ["search", principal.tenant_id, query.q, *query.scope]
    wanted = SearchRequest(
        tenant_id=principal.tenant_id,
        text=query.q.strip(),
        event_types=query.event_type,
        signal_types=query.signal_type,
        min_score=query.min_score,
        customer_id=query.customer_id,
        since=query.since,
        until=query.until,
        limit=query.limit + 1,
        after=decode_cursor(query.cursor, scope, list[int | str]) if query.cursor else None,
    )
    try:
        found = await request.app.state.services.search.search(wanted)
    except BadRequestError:
        # Not of the syntax, which knows no errors, but for instance of too many words.
        raise invalid_parameter("q", "this search is too complex; use fewer words") from None
    hits, next_cursor = cut_page(found.hits, query.limit, scope, lambda hit: hit.sort)
    return json_response(
        SearchPage(
            total=found.total,
            items=[_found(hit) for hit in hits],
            facets=found.facets,
            next_cursor=next_cursor,
        )
    )


def _found(hit: Hit) -> FoundSignal:
    signal = _decode(hit.source)
    signal.highlight = hit.highlight
    return signal
