"""The oracle of the index: the documents that search holds are those that PostgreSQL says."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, LiteralString

import httpx
import psycopg

from common.search.template import ALIAS

_PAGE = 10_000
_SCROLL = "2m"
_SIGNALS: LiteralString = "SELECT tenant_id, signal_id::text FROM signals"


@dataclass(slots=True)
class IndexDifference:
    """How the index differs from PostgreSQL, by documents."""

    missing: int = 0
    extra: int = 0
    doubled: int = 0
    missing_by_tenant: dict[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All differences together."""
        return self.missing + self.extra + self.doubled


def compare_index(connection: psycopg.Connection[Any], search_url: str) -> IndexDifference:
    """Compare the ids, tenant by tenant.

    Raises:
        httpx.HTTPError: the search server does not answer.
    """
    stored = set(connection.execute(_SIGNALS).fetchall())
    with httpx.Client(base_url=search_url, timeout=120) as client:
        client.post(f"/{ALIAS}/_refresh", params={"ignore_unavailable": "true"}).raise_for_status()
        found = Counter(_documents(client))
    missing = stored - found.keys()
    return IndexDifference(
        missing=len(missing),
        extra=len(found.keys() - stored),
        doubled=sum(count - 1 for count in found.values()),
        missing_by_tenant=dict(Counter(tenant_id for tenant_id, _ in missing)),
    )


def _documents(client: httpx.Client) -> Iterator[tuple[int, str]]:
    query = {"size": _PAGE, "_source": ["tenant_id"], "query": {"match_all": {}}}
    answer = (
        client.post(f"/{ALIAS}/_search", params={"scroll": _SCROLL}, json=query).raise_for_status().json()
    )
    while hits := answer["hits"]["hits"]:
        for hit in hits:
            yield int(hit["_source"]["tenant_id"]), hit["_id"]
        page = {"scroll": _SCROLL, "scroll_id": answer["_scroll_id"]}
        answer = client.post("/_search/scroll", json=page).raise_for_status().json()
    client.request("DELETE", "/_search/scroll", json={"scroll_id": answer["_scroll_id"]})
