"""What the index holds: an index's documents in order, and single ones as they are at this moment."""

from collections.abc import Collection, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from elasticsearch import ApiError, Elasticsearch, NotFoundError, TransportError

from common.errors import SsppError
from common.search.client import translated_errors
from common.search.indices import refresh

_KEEP_ALIVE = "1h"  # from page to page: much may have to be repaired in between
_FIRST_PAGE, _SMALLEST_PAGE, _LARGEST_PAGE = 500, 50, 10_000
# What an answer aims to weigh: some servers need a good part of a second for a page of whatever size.
_PAGE_BYTES = 8 * 1024 * 1024


class VerifyError(SsppError):
    """PostgreSQL and the index cannot be compared."""

    code = "verify_failed"


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """One document: its `_id`, its version and its ``_source``."""

    id: str
    version: int
    source: dict[str, Any]


class IndexedDocuments:
    """Reads documents through `client`, from `open_client`."""

    def __init__(self, client: Elasticsearch) -> None:
        self._client = client

    def walk(self, index: str) -> Generator[tuple[int, IndexedDocument], None, None]:
        """Yield all that `index` holds at this moment, from the newest to the oldest; nothing if it does not exist.

        Each with its received_at as the index has it, in milliseconds since 1970. Those of one millisecond come in
        the descending order of signal_id, those without a received_at last. Memory holds a page of about 8 MiB.
        Close it before `client`: the server keeps what it held for this, deleted indices included, until it is told.

        Raises:
            VerifyError: the index disappeared meanwhile, or the server cannot do this.
            SearchUnavailableError: the server is away or busy.
        """
        with translated_errors():
            refresh(self._client, index)
            try:
                point = self._client.open_point_in_time(index=index, keep_alive=_KEEP_ALIVE)["id"]
            except NotFoundError:
                return
        try:
            yield from self._pages(index, point)
        finally:
            with suppress(ApiError, TransportError):  # it ends by itself after _KEEP_ALIVE
                self._client.close_point_in_time(id=point)

    @translated_errors()
    def find(self, index: str, ids: Collection[str]) -> dict[str, IndexedDocument]:
        """Those documents of `index` that have one of these ids, as last written, whether refreshed or not.

        Raises:
            SearchUnavailableError: the server is away or busy.
        """
        if not ids:
            return {}
        try:
            answer = self._client.mget(index=index, ids=list(ids))
        except NotFoundError:
            return {}
        return {
            found["_id"]: IndexedDocument(found["_id"], found["_version"], found["_source"])
            for found in answer["docs"]
            if found.get("found")
        }

    def _pages(self, index: str, point: str) -> Iterator[tuple[int, IndexedDocument]]:
        size = _FIRST_PAGE
        after: list[Any] | None = None
        while True:
            answer = self._page(index, point, size, after)
            hits = answer["hits"]["hits"]
            for hit in hits:
                yield hit["sort"][0], IndexedDocument(hit["_id"], hit["_version"], hit["_source"])
            if len(hits) < size:
                return
            after, point = hits[-1]["sort"], answer.get("pit_id", point)
            sample = hits[:: len(hits) // 20 or 1]
            weight = sum(len(repr(hit["_source"])) for hit in sample) // len(sample)
            size = max(_SMALLEST_PAGE, min(_LARGEST_PAGE, _PAGE_BYTES // max(1, weight)))

    @translated_errors()
    def _page(self, index: str, point: str, size: int, after: list[Any] | None) -> Any:
        try:
            return self._client.search(
                pit={"id": point, "keep_alive": _KEEP_ALIVE},
                size=size,
                # _id itself must not be sorted by; signal_id is the same.
                sort=[
                    {name: {"order": "desc", "missing": "_last", "unmapped_type": kind}}
                    for name, kind in (("received_at", "date"), ("signal_id", "keyword"))
                ],
                search_after=after,
                version=True,
                track_total_hits=False,
                # Half an answer would make documents look missing.
                allow_partial_search_results=False,
            )
        except ApiError as error:
            if error.meta.status == 404:
                raise VerifyError(f"{index} was replaced while it was compared; run it again") from error
            if error.meta.status == 400:
                raise VerifyError(f"the search server cannot list {index}: {error}") from error
            raise
