"""What the tests of measuring share: what the metrics show, and documents of the index."""

from datetime import datetime, timedelta

from elasticsearch import Elasticsearch

from common.clock import rfc3339, system_clock
from common.metrics import Metrics

NOW = system_clock()
EARLIER = NOW - timedelta(minutes=10)


def shown(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def labels_of(metrics: Metrics, name: str) -> set[str]:
    """The values of the only label of `name`."""
    return {
        value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
        for value in sample.labels.values()
    }


def write(search: Elasticsearch, index: str, signal_id: object, received_at: datetime = EARLIER) -> None:
    document = {"signal_id": str(signal_id), "tenant_id": "7", "received_at": rfc3339(received_at)}
    search.index(index=index, id=str(signal_id), document=document)
