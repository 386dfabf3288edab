"""Waiting until all that was sent has arrived, at hardly any cost to those who are being measured."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import psycopg

from common.search.template import ALIAS
from suite.amounts import signal_ids, wanted
from suite.bench import Place
from suite.events import Event

_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 1.0
_PAUSE_BEFORE_PROGRESS_SECONDS = 0.1
_PAUSE_FACTOR = 10
_PATIENCE_SECONDS = 60.0

Counts = tuple[int, ...]


class LateError(Exception):
    """Not all that was sent arrived in time; says what is missing."""


def wait_until_stored(
    place: Place, events: Sequence[Event], *, patience_seconds: float = _PATIENCE_SECONDS
) -> float:
    """Wait until as many rows of events and refusals are there as `events`, all that were ever sent, amount to.

    However long it takes, rows are counted some ten to twenty times: each time after half of what should still be left
    at the rate seen so far, and so at the end every 20 milliseconds.

    Returns:
        The instant, by `time.monotonic`, at which they were seen to be there.

    Raises:
        LateError: something is missing, or too much is there, and nothing has changed for `patience_seconds`.
    """
    distinct = list(wanted({place.tenant_id: events}))
    valid = sum(event.is_valid for event in distinct)
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        return _wait(
            "events and refusals",
            (valid, len(distinct) - valid),
            lambda: _count_rows(connection),
            patience_seconds,
            share_of_wait=0.5,
        )


def wait_until_searchable(
    place: Place, events: Sequence[Event], *, patience_seconds: float = _PATIENCE_SECONDS
) -> float:
    """Wait until `events`, all that were ever sent to `place`, are stored and searchable, or refused.

    Only counts, and documents last, as it costs the search server much to count them: once the rows are there, and the
    outbox says that all is indexed, where there is one. `checking.check_arrived` then compares ids.

    Returns:
        The instant, by `time.monotonic`, at which they were seen to be.

    Raises:
        LateError: as `wait_until_stored`.
    """
    wait_until_stored(place, events, patience_seconds=patience_seconds)
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        _wait("unindexed batches", (0,), lambda: _count_unindexed(connection), patience_seconds)
    documents = len(signal_ids({place.tenant_id: events}))
    with httpx.Client(base_url=place.elasticsearch_url, timeout=60) as client:
        return _wait("documents", (documents,), lambda: _count_documents(client), patience_seconds)


def _wait(
    what: str,
    should: Counts,
    count: Callable[[], Counts],
    patience_seconds: float,
    *,
    share_of_wait: float = 0.0,
) -> float:
    """Count until `should` is reached, pausing for that share of what is left, but not for more than a second."""
    began = last_change = asked = time.monotonic()
    first = found = count()
    while found != should:
        now = time.monotonic()
        if now - last_change > patience_seconds:
            raise LateError(f"{what}: {found} instead of {should}, for good")
        # What counting costs is taken from those who are being measured.
        pause = max(_SHORTEST_PAUSE_SECONDS, (now - asked) * _PAUSE_FACTOR)
        if share_of_wait:
            came, missing = sum(found) - sum(first), sum(should) - sum(found)
            ahead = share_of_wait * (now - began) * missing / came if came else _PAUSE_BEFORE_PROGRESS_SECONDS
            pause = max(pause, min(_LONGEST_PAUSE_SECONDS, ahead))
        time.sleep(pause)
        asked, before, found = time.monotonic(), found, count()
        if found != before:
            last_change = time.monotonic()
    return time.monotonic()


def _count_rows(connection: psycopg.Connection[Any]) -> Counts:
    row = connection.execute(
        "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM rejected_events)"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def _count_unindexed(connection: psycopg.Connection[Any]) -> Counts:
    row = connection.execute("SELECT count(*) FROM outbox WHERE indexed_at IS NULL").fetchone()
    assert row is not None
    return (row[0],)


def _count_documents(client: httpx.Client) -> Counts:
    answer = client.get(f"/{ALIAS}/_count", params={"ignore_unavailable": "true"})
    if answer.status_code == httpx.codes.NOT_FOUND:
        return (0,)  # the first document makes the index
    return (int(answer.raise_for_status().json()["count"]),)
