"""The search server: its health, and what it holds."""

from collections.abc import Iterable

from elasticsearch import Elasticsearch

from common.metrics import Metrics
from common.search.client import translated_errors
from common.search.template import ALIAS

_PATIENCE_SECONDS = 5.0
_STATUSES = ("green", "yellow", "red")


@translated_errors()
def measure_search(client: Elasticsearch, metrics: Metrics) -> None:
    """Set the metrics of the cluster's health and of each index.

    Raises:
        SearchUnavailableError: Elasticsearch is away or busy.
    """
    patient = client.options(request_timeout=_PATIENCE_SECONDS)
    health = patient.cluster.health()["status"].lower()
    for status in _STATUSES:
        metrics.set("sspp_search_health", status == health, status=status)
    found: Iterable[dict[str, str]] = patient.cat.indices(
        index=f"{ALIAS}-*", format="json", bytes="b", h="index,docs.count,store.size"
    ).body  # type: ignore[assignment]  # a list, as JSON is asked for
    indices = list(found)
    for name, column in (("sspp_search_documents", "docs.count"), ("sspp_search_bytes", "store.size")):
        # A closed index has neither.
        metrics.replace(name, {(each["index"],): float(each[column]) for each in indices if each.get(column)})
