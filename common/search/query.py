"""Search requests: full text, filters, facets and highlights over one tenant's signals."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from elastic_transport import JsonSerializer
from elasticsearch import AsyncElasticsearch

from common.clock import rfc3339
from common.search.client import translated_errors
from common.search.template import ALIAS

_FACETS = ("event_type", "signal_type")
_MAX_FACET_VALUES = 200


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to find; filters combine, and values of one filter are alternatives.

    `text` is the user's words in the simple query string syntax, where nothing is a syntax error; all of them
    must occur. `after` is the `sort` of the last hit of the page before.
    """

    tenant_id: int
    text: str = ""
    event_types: Sequence[str] = ()
    signal_types: Sequence[str] = ()
    customer_id: str | None = None
    min_score: float | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    after: Sequence[int | str] | None = None


class Hit(msgspec.Struct):
    """One document found: `source` is its JSON text, `highlight` has fragments by field."""

    source: msgspec.Raw = msgspec.field(name="_source")
    sort: list[int | str]
    highlight: dict[str, list[str]] = {}


class _Total(msgspec.Struct):
    value: int


class _Hits(msgspec.Struct):
    total: _Total
    hits: list[Hit]


class _Bucket(msgspec.Struct):
    key: str
    doc_count: int


class _Facet(msgspec.Struct):
    buckets: list[_Bucket]


class _Answer(msgspec.Struct):
    hits: _Hits
    aggregations: dict[str, _Facet] = {}


@dataclass(frozen=True, slots=True)
class Found:
    """The hits of one page, newest first, how many documents match in all, and how they spread."""

    total: int
    hits: list[Hit]
    facets: dict[str, dict[str, int]]


class _Unread(JsonSerializer):
    """Hands answers over as bytes: parsing them into floats would falsify the exact numbers in documents."""

    def loads(self, data: bytes) -> Any:
        return data


class SearchReader:
    """Asks Elasticsearch on behalf of the API. Takes over `client`, whose answers arrive unparsed from then on."""

    def __init__(self, client: AsyncElasticsearch) -> None:
        serializers = client.transport.serializers.serializers
        for mimetype in [mimetype for mimetype in serializers if mimetype.endswith("json")]:
            serializers[mimetype] = _Unread()
        self._client = client
        self._decode = msgspec.json.Decoder(_Answer).decode

    async def search(self, request: SearchRequest) -> Found:
        """Find the signals of one tenant that `request` describes.

        Newest first. An index that does not exist yet holds nothing, which is no error. Instants count in
        milliseconds.

        Raises:
            SearchUnavailableError: Elasticsearch is away or busy.
        """
        with translated_errors():
            answer = await self._client.search(
                index=ALIAS, ignore_unavailable=True, allow_no_indices=True, body=build_body(request)
            )
        found = self._decode(answer.body)
        return Found(
            total=found.hits.total.value,
            hits=found.hits.hits,
            facets={
                # Without any index there are no aggregations either.
                name: {
                    bucket.key: bucket.doc_count
                    for bucket in found.aggregations.get(name, _Facet([])).buckets
                }
                for name in _FACETS
            },
        )

    async def ping(self) -> None:
        """Return if Elasticsearch answers.

        Raises:
            SearchUnavailableError: it does not.
        """
        with translated_errors():
            await self._client.info()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def build_body(request: SearchRequest) -> dict[str, Any]:
    """The body of the search: the tenant always filters, whatever the user typed."""
    filters: list[dict[str, Any]] = [{"term": {"tenant_id": request.tenant_id}}]
    if request.event_types:
        filters.append({"terms": {"event_type": list(request.event_types)}})
    if request.signal_types:
        filters.append({"terms": {"signal_type": list(request.signal_types)}})
    if request.customer_id is not None:
        filters.append({"term": {"customer_id": request.customer_id}})
    if request.min_score is not None:
        filters.append({"range": {"signal_score": {"gte": request.min_score}}})
    period = {
        bound: rfc3339(instant)
        for bound, instant in (("gte", request.since), ("lt", request.until))
        if instant is not None
    }
    if period:
        filters.append({"range": {"occurred_at": period}})
    query: dict[str, Any] = {"filter": filters}
    # Not by relevance: scores shift with every document that arrives, and a cursor that holds one skips and
    # doubles. All words must occur anyway, and what a salesperson wants first is the latest.
    order: list[dict[str, Any]] = [
        {"occurred_at": {"order": "desc", "unmapped_type": "date"}},
        # _id itself must not be sorted by (and cannot, everywhere); this keyword is the same.
        {"signal_id": {"order": "desc", "unmapped_type": "keyword"}},
    ]
    if request.text:
        words = {"query": request.text, "fields": ["text"], "default_operator": "and"}
        exact = [{"term": {name: request.text}} for name in ("customer_id", "event_id", "trace_id")]
        query["must"] = [
            {"bool": {"should": [{"simple_query_string": words}, *exact], "minimum_should_match": 1}}
        ]
    body: dict[str, Any] = {
        "query": {"bool": query},
        "sort": order,
        "size": request.limit,
        "track_total_hits": True,
        "aggs": {name: {"terms": {"field": name, "size": _MAX_FACET_VALUES}} for name in _FACETS},
    }
    if request.text:
        body["highlight"] = {"encoder": "html", "fields": {"text": {}}}
    if request.after is not None:
        body["search_after"] = list(request.after)
    return body
