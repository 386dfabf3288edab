"""Listing documents page by page: which ones there are, and whose, without what else is in them."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from elasticsearch import Elasticsearch

from common.search.client import translated_errors

_PAGE = 1000


class Listed(NamedTuple):
    """A document: the index that it is in, its id, and whom it is about."""

    index_name: str
    signal_id: str
    customer_id: str


def list_documents(
    client: Elasticsearch, index: str, query: Mapping[str, Any], *, order: Literal["asc", "desc"] = "asc"
) -> Iterator[list[Listed]]:
    """Yield what `query` finds, in pages by time of arrival; none is empty.

    `index` is a name or a pattern. As of the last refresh. What is written or deleted meanwhile may be in it or not.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    after: list[Any] | None = None
    while True:
        with translated_errors():
            answer = client.search(
                index=index,
                query=query,
                size=_PAGE,
                source_includes=["customer_id"],
                sort=[
                    {name: {"order": order, "unmapped_type": kind}}
                    for name, kind in (("received_at", "date"), ("signal_id", "keyword"))
                ],
                search_after=after,
                track_total_hits=False,
                ignore_unavailable=True,
                allow_no_indices=True,
                # Half an answer would leave documents that nobody looks for again.
                allow_partial_search_results=False,
            )
        hits = answer["hits"]["hits"]
        if not hits:
            return
        yield [Listed(hit["_index"], hit["_id"], hit["_source"].get("customer_id", "")) for hit in hits]
        after = hits[-1]["sort"]
