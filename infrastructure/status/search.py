"""Elasticsearch: whether it is well, and what it holds."""

from collections.abc import Iterable
from time import monotonic

from common.search.client import open_client, translated_errors
from common.search.template import ALIAS
from infrastructure.status.status import Answers

_PATIENCE_SECONDS = 3.0


def ask_search(url: str, ca_file: str, answers: Answers) -> None:
    """Add ``stores.elasticsearch``.

    Raises:
        SearchUnavailableError: it is away or busy.
    """
    answers.sections["stores"] = {"elasticsearch": {"up": False}}
    with open_client(url, ca_file=ca_file) as client, translated_errors():
        patient = client.options(request_timeout=_PATIENCE_SECONDS)
        version = patient.info()["version"]["number"]
        begun = monotonic()
        health = patient.cluster.health()["status"].lower()
        latency = monotonic() - begun
        found: Iterable[dict[str, str]] = patient.cat.indices(
            index=f"{ALIAS}-*", format="json", bytes="b", h="index,docs.count,store.size"
        ).body  # type: ignore[assignment]  # a list, as JSON is asked for
        indices = list(found)
    answers.sections["stores"] = {
        "elasticsearch": {
            "up": True,
            "version": version,
            "latency_ms": round(latency * 1000, 1),
            "bytes": sum(int(each.get("store.size") or 0) for each in indices),
            "health": health,
            "documents": sum(int(each.get("docs.count") or 0) for each in indices),
            "indices": len(indices),
        }
    }
    if health == "red":
        answers.problems.append("the search cluster is red: some documents cannot be found")
