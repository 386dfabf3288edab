"""Whether all that was sent has arrived: stored in PostgreSQL and searchable, wherever it came through."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import psycopg

from common.envelope import event_key, signal_id
from common.search.template import ALIAS
from suite.bench import Place
from suite.events import Event, distinct_valid

_POLL_SECONDS = 0.02
_PAUSE_FACTOR = 10
_PAGE = 10_000


class LateError(Exception):
    """Not all that was sent arrived in time; says what is missing."""


def wait_until_searchable(place: Place, events: Sequence[Event], *, patience_seconds: float = 60) -> float:
    """Wait until `events`, all that were ever sent to `place`, are stored and searchable, or refused.

    Counts rows, and documents once the rows are there; `check_arrived` then compares their ids.

    Returns:
        The instant, by `time.monotonic`, at which they were seen to be.

    Raises:
        LateError: something is missing, and nothing more has come for `patience_seconds`; or too much came.
    """
    wanted = (len(distinct_valid(events)), len(_refused_ids(events)), len(_document_ids(place, events)))
    found = (0, 0, 0)
    last_change = time.monotonic()
    with (
        psycopg.connect(place.database_url, autocommit=True) as connection,
        httpx.Client(base_url=place.elasticsearch_url, timeout=60) as client,
    ):
        while True:
            before, asked = found, time.monotonic()
            rows = _count_rows(connection)
            # To count documents costs the search server much, and no document comes before its row.
            found = (*rows, _count_documents(client) if rows == wanted[:2] else found[2])
            answered = time.monotonic()
            if found == wanted:
                return answered
            if found != before:
                last_change = answered
            elif answered - last_change > patience_seconds:
                raise LateError(f"(events, refusals, documents) are {found} instead of {wanted}, for good")
            # What counting costs is taken from those who are being measured.
            time.sleep(max(_POLL_SECONDS, (answered - asked) * _PAUSE_FACTOR))


def check_arrived(place: Place, events: Sequence[Event]) -> list[str]:
    """What is wrong if `place` should hold exactly what `events` amount to, by their ids."""
    expected = Counter(event.event_id for event in distinct_valid(events))
    with psycopg.connect(place.database_url) as connection:
        stored = Counter(row[0] for row in connection.execute("SELECT event_id FROM events"))
        refused = Counter(row[0] for row in connection.execute("SELECT event_id FROM rejected_events"))
        signals = Counter(row[0] for row in connection.execute("SELECT signal_id::text FROM signals"))
        counted = connection.execute(
            "SELECT coalesce(sum(signal_count), 0)::bigint FROM customers"
        ).fetchone()
    with httpx.Client(base_url=place.elasticsearch_url, timeout=60) as client:
        documents = Counter(_documents(client))
    ids = Counter(_document_ids(place, events))
    problems = [
        f"{(should - found).total()} {what} are missing, {(found - should).total()} are too many"
        for what, found, should in (
            ("events", stored, expected),
            ("refusals", refused, Counter(_refused_ids(events))),
            ("signals", signals, ids),
            ("documents", documents, ids),
        )
        if found != should
    ]
    if counted != (len(ids),):
        problems.append(f"customers count {counted} signals together instead of {len(ids)}")
    return problems


def _refused_ids(events: Sequence[Event]) -> set[str]:
    return {event.event_id for event in events if not event.is_valid}


def _document_ids(place: Place, events: Sequence[Event]) -> list[str]:
    """Each event of the workload has one signal, but for changes of a profile, which have none."""
    return [
        str(signal_id(event_key(place.tenant_id, event.event_id), 0))
        for event in distinct_valid(events)
        if b'"customer_updated"' not in event.raw
    ]


def _count_documents(client: httpx.Client) -> int:
    answer = client.get(f"/{ALIAS}/_count", params={"ignore_unavailable": "true"})
    return (
        0 if answer.status_code == httpx.codes.NOT_FOUND else int(answer.raise_for_status().json()["count"])
    )


def _count_rows(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    row = connection.execute(
        "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM rejected_events)"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def _documents(client: httpx.Client) -> Iterator[str]:
    query = {"size": _PAGE, "_source": False, "query": {"match_all": {}}}
    begun = client.post(f"/{ALIAS}/_search", params={"scroll": "2m"}, json=query)
    if begun.status_code == httpx.codes.NOT_FOUND:
        return  # the first document makes the index
    answer = begun.raise_for_status().json()
    while hits := answer["hits"]["hits"]:
        yield from (hit["_id"] for hit in hits)
        page = {"scroll": "2m", "scroll_id": answer["_scroll_id"]}
        answer = client.post("/_search/scroll", json=page).raise_for_status().json()
    client.request("DELETE", "/_search/scroll", json={"scroll_id": answer["_scroll_id"]})
