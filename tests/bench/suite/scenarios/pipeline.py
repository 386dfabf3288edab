"""The whole pipeline, from bulk requests over HTTP to searchable, against the search server's own rate alone."""

import http.client
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from urllib.parse import urlsplit

import psycopg

from common.search.client import open_client
from common.search.documents import Document, document
from common.search.generations import MonthIndices
from common.search.indices import ensure_indices, refresh
from common.search.template import ALIAS
from infrastructure.database.connections import connect
from infrastructure.search.stored import StoredSignals
from suite.arrival import LateError, check_arrived, wait_until_searchable
from suite.bench import Bench, Place
from suite.events import Event, Workload, distinct_valid
from suite.measuring import Comparison, Findings, in_turns

_REQUEST_EVENTS = 1_000
_CONNECTIONS = 4
_BULK_DOCUMENTS = 2_000
_POLL_SECONDS = 0.02
_TIMEOUT_SECONDS = 120
_NDJSON = "application/x-ndjson"


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
            seconds = _send(place, fleet.api_url, events)
            for name, mebibytes in fleet.peak_mebibytes().items():
                peaks[name] = max(mebibytes, peaks.get(name, 0.0))
            findings.problems += check_arrived(place, events)
            documents[:] = _documents_of(place)
        return stored / seconds

    def search_alone(_round: int) -> float:
        with bench.place() as place:
            return len(documents) / _write(place, documents)

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
            remark=f"{count:,} events, {_REQUEST_EVENTS:,} a request",
        )
    )
    findings.figures |= {f"{name} in the pipeline, peak resident": f"{peaks[name]:.0f} MiB" for name in peaks}
    return findings


def _send(place: Place, api_url: str, events: Sequence[Event]) -> float:
    """Send `events` in bulk; returns how many seconds later all of them are searchable."""
    bodies = [
        b"\n".join(event.raw for event in events[start : start + _REQUEST_EVENTS])
        for start in range(0, len(events), _REQUEST_EVENTS)
    ]
    headers = {
        "Authorization": f"Bearer {place.key}",
        "Content-Type": _NDJSON,
        "Prefer": "return=minimal",
    }

    def send_share(number: int) -> int:
        answers = _posted(f"{api_url}/v1/events", bodies[number::_CONNECTIONS], headers, status=202)
        return sum(json.loads(answer)["accepted"] for answer in answers)

    with ThreadPoolExecutor(_CONNECTIONS) as threads:
        started = time.monotonic()
        accepted = sum(threads.map(send_share, range(_CONNECTIONS)))
    if accepted != len(events):
        raise RuntimeError(f"{accepted} of {len(events)} events were accepted")
    _wait_until_indexed(place, sum(not _is_profile_change(event) for event in distinct_valid(events)))
    return wait_until_searchable(place, events) - started


def _wait_until_indexed(place: Place, signals: int) -> None:
    """Wait until the outbox says so of that many signals: to ask it costs next to nothing, to ask the index much."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        while True:
            # Sizes instead of lengths (16 bytes an id, and about 20), so that no array is unpacked.
            row = connection.execute(
                "SELECT coalesce(sum((pg_column_size(signal_ids) - 20) / 16), 0)::bigint"
                " FROM outbox WHERE indexed_at IS NOT NULL"
            ).fetchone()
            if row and row[0] >= signals:
                return
            if time.monotonic() > deadline:
                raise LateError(f"{row} of {signals} signals are indexed after {_TIMEOUT_SECONDS} s")
            time.sleep(_POLL_SECONDS)


def _is_profile_change(event: Event) -> bool:
    return b'"customer_updated"' in event.raw


def _documents_of(place: Place) -> list[Document]:
    """The documents of all signals, in no order, as they come."""
    with connect(place.database_url) as connection:
        stored = StoredSignals(connection)
        documents = [document(row) for month in stored.count() for row in stored.walk(month)]
    random.Random(0).shuffle(documents)
    return documents


def _write(place: Place, documents: Sequence[Document]) -> float:
    """Write `documents` by nothing but `_bulk`, into indices like the platform's; returns how many seconds it took.

    Raises:
        RuntimeError: the server did not take all of them.
    """
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
        answers = list(
            _posted(f"{place.elasticsearch_url}/_bulk", bodies, {"Content-Type": _NDJSON}, status=200)
        )
        seconds = time.monotonic() - started
        refresh(client)
        written = sum(
            item["index"]["status"] == http.HTTPStatus.CREATED
            for answer in answers
            for item in json.loads(answer)["items"]
        )
        found = client.count(index=ALIAS)["count"]
    if not written == found == len(documents):
        raise RuntimeError(f"of {len(documents)} documents {written} were written, {found} are found")
    return seconds


def _posted(url: str, bodies: Sequence[bytes], headers: Mapping[str, str], *, status: int) -> Iterator[bytes]:
    """Post `bodies` one after the other over one connection and yield the answers.

    Raises:
        RuntimeError: an answer has another status than `status`.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    with closing(
        http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
    ) as connection:
        for body in bodies:
            connection.request("POST", parts.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != status:
                raise RuntimeError(f"{url} answered {answer.status}: {content[:300]!r}")
            yield content
