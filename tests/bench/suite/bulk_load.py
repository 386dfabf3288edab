"""Sends events in bulk over HTTP, and whatever else takes many in one request."""

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

from suite.bench import Place
from suite.events import Event

REQUEST_EVENTS = 1_000
NDJSON = "application/x-ndjson"

_CONNECTIONS = 4
_TIMEOUT_SECONDS = 120


def send_in_bulk(place: Place, api_url: str, events: Sequence[Event]) -> None:
    """Send `events` to the API, many in one request and over some connections; returns when all are answered.

    Raises:
        RuntimeError: not all of them were accepted.
    """
    bodies = [
        b"\n".join(event.raw for event in events[start : start + REQUEST_EVENTS])
        for start in range(0, len(events), REQUEST_EVENTS)
    ]
    headers = {"Authorization": f"Bearer {place.key}", "Content-Type": NDJSON, "Prefer": "return=minimal"}

    def send_share(number: int) -> int:
        answers = post_each(f"{api_url}/v1/events", bodies[number::_CONNECTIONS], headers, status=202)
        return sum(json.loads(answer)["accepted"] for answer in answers)

    with ThreadPoolExecutor(_CONNECTIONS) as threads:
        accepted = sum(threads.map(send_share, range(_CONNECTIONS)))
    if accepted != len(events):
        raise RuntimeError(f"{accepted} of {len(events)} events were accepted")


def post_each(
    url: str, bodies: Sequence[bytes], headers: Mapping[str, str], *, status: int
) -> Iterator[bytes]:
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
