"""The whole pipeline, from bulk requests over HTTP to searchable, against the search server's own rate alone."""

import random
import time
from collections.abc import Sequence
from datetime import date

from common.search.client import open_client
from common.search.documents import Document, document
from common.search.generations import MonthIndices
from common.search.indices import ensure_indices, refresh
from common.search.template import ALIAS
from infrastructure.database.connections import connect
from infrastructure.search.stored import StoredSignals
from suite.amounts import signal_ids
from suite.arrival import wait_until_searchable
from suite.bench import Bench, Place
from suite.bulk_load import NDJSON, REQUEST_EVENTS, post_each, send_in_bulk
from suite.checking import check_arrived, check_documents
from suite.events import Workload, distinct_valid
from suite.measuring import Comparison, Findings, in_turns

_BULK_DOCUMENTS = 2_000


def run(bench: Bench) -> Findings:
    """Compare events a second from HTTP to searchable with what the search server takes of their documents alone."""
    findings = Findings()
    # The search server keeps house once a second, for as long as it has documents. Many more of them would measure
    # that, many fewer the first and the last batch.
    count = bench.scope.choose(30_000, 14_000)
    events = Workload("pipeline").events(count)
    stored = len(distinct_valid(events))
    documents: list[Document] = []
    peaks: dict[str, float] = {}

    def pipeline(_round: int) -> float:
        with bench.place() as place, bench.fleet(place) as fleet:
            started = time.monotonic()
            send_in_bulk(place, fleet.api_url, events)
            seconds = wait_until_searchable(place, events) - started
            for name, mebibytes in fleet.peak_mebibytes().items():
                peaks[name] = max(mebibytes, peaks.get(name, 0.0))
            findings.problems += check_arrived(place, events)
            documents[:] = _documents_of(place)
        return stored / seconds

    def search_alone(_round: int) -> float:
        with bench.place() as place:
            seconds = _write(place, documents)
            findings.problems += check_documents(place, signal_ids({place.tenant_id: events}))
            return len(documents) / seconds

    found = in_turns(
        {"pipeline": pipeline, "search alone": search_alone},
        bench.rounds,
        unit="events/s, documents/s",
        note=bench.note,
    )
    findings.comparisons.append(
        Comparison(
            "pipeline",
            "Whole pipeline, HTTP to searchable : the search server's own _bulk rate",
            found["pipeline"],
            found["search alone"],
            goal=0.45,
            remark=f"{count:,} events, {REQUEST_EVENTS:,} a request",
        )
    )
    findings.figures |= {f"{name} in the pipeline, peak resident": f"{peaks[name]:.0f} MiB" for name in peaks}
    return findings


def _documents_of(place: Place) -> list[Document]:
    """The documents of all signals, in no order, as they come."""
    with connect(place.database_url) as connection:
        stored = StoredSignals(connection)
        documents = [document(row) for month in stored.count() for row in stored.walk(month)]
    random.Random(0).shuffle(documents)
    return documents


def _write(place: Place, documents: Sequence[Document]) -> float:
    """Write `documents` by nothing but `_bulk`, into indices like the platform's; returns how many seconds it took."""
    bodies = [
        b"".join(
            b'{"index":{"_index":"%b","_id":"%b"}}\n%b\n'
            % (each.index.encode(), each.id.encode(), each.source)
            for each in documents[start : start + _BULK_DOCUMENTS]
        )
        for start in range(0, len(documents), _BULK_DOCUMENTS)
    ]
    with open_client(place.elasticsearch_url) as client:
        for index in {each.index for each in documents}:
            ensure_indices(client, MonthIndices(date.fromisoformat(f"{index.removeprefix(ALIAS)}-01"[1:])))
        started = time.monotonic()
        for _answer in post_each(
            f"{place.elasticsearch_url}/_bulk", bodies, {"Content-Type": NDJSON}, status=200
        ):
            pass  # what it took is looked up afterwards
        seconds = time.monotonic() - started
        refresh(client)
    return seconds
