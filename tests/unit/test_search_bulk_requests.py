"""How documents are put into requests, and what becomes of the rest when one of these fails."""

from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from elastic_transport import ConnectionTimeout
from patience import PATIENCE_SECONDS
from scripted_search import CREATED, Answer, Server, answering, documents, item

from common.search.bulk import Failure, write_documents
from common.search.documents import Document


@pytest.mark.parametrize("status", [400, 401, 404, 429, 503])
def test_a_request_that_fails_as_a_whole_puts_off_everything_and_stops_sending(status: int) -> None:
    server = Server(lambda *_: (status, {"error": "no"}))

    outcome = write_documents(server.client, documents(6, size=400), max_request_bytes=1200)

    assert set(outcome.retry) == {f"id-{n}" for n in range(6)}
    assert outcome.away
    assert outcome.away.status == status
    assert len(server.requests) == 1


def test_a_request_without_an_answer_puts_off_everything() -> None:
    def time_out(*_: Any) -> Answer:
        raise ConnectionTimeout("slow")

    outcome = write_documents(Server(time_out).client, documents(2))

    assert outcome.retry == dict.fromkeys(["id-0", "id-1"], Failure(None, "ConnectionTimeout"))
    assert outcome.away == Failure(None, "ConnectionTimeout")


def test_a_server_that_goes_away_later_is_away_and_keeps_what_it_took() -> None:
    answers = iter([(200, {"items": [CREATED, item(403)]}), (503, {"error": "away"})])

    outcome = write_documents(
        Server(lambda *_: next(answers)).client, documents(6, size=400), max_request_bytes=1200
    )

    assert outcome.ok == {"id-0"}
    assert set(outcome.retry) == {f"id-{n}" for n in range(1, 6)}
    assert outcome.away
    assert outcome.away.status == 503


def test_requests_are_split_by_bytes_and_every_document_is_sent_once() -> None:
    server = Server(lambda _method, _path, lines: (200, {"items": [CREATED] * (len(lines) // 2)}))

    outcome = write_documents(server.client, documents(10, size=400), max_request_bytes=1200)

    assert len(outcome.ok) == 10
    assert [len(lines) // 2 for _, _, lines in server.requests] == [2] * 5
    assert max(sum(map(len, lines)) for _, _, lines in server.requests) <= 1200


def test_a_request_too_large_for_the_server_goes_in_halves_down_to_the_one_it_refuses() -> None:
    def refuse_large(_method: str, _path: str, lines: list[bytes]) -> Answer:
        if sum(map(len, lines)) > 1000:
            return 413, {"error": "too large"}
        return 200, {"items": [CREATED] * (len(lines) // 2)}

    batch = [*documents(5, size=300), Document("signals-2026-11", "giant", b'"' + b"x" * 2000 + b'"')]

    outcome = write_documents(Server(refuse_large).client, batch)

    assert outcome.ok == {f"id-{n}" for n in range(5)}
    assert outcome.refused["giant"].status == 413
    assert not outcome.retry
    assert outcome.away is None


def test_a_server_that_goes_away_between_two_halves_loses_none_of_them() -> None:
    def fail_after_413(_method: str, _path: str, lines: list[bytes]) -> Answer:
        return (413, {"error": "too large"}) if len(lines) > 4 else (503, {"error": "away"})

    outcome = write_documents(Server(fail_after_413).client, documents(8))

    assert set(outcome.retry) == {f"id-{n}" for n in range(8)}
    assert outcome.away


def test_nothing_to_write_asks_nothing() -> None:
    server = answering()

    assert not write_documents(server.client, []).ok
    assert not server.requests


def test_the_next_request_is_made_ready_while_the_server_has_one() -> None:
    read_on = Event()

    def answer(_method: str, _path: str, lines: list[bytes]) -> Answer:
        assert read_on.wait(PATIENCE_SECONDS)
        return 200, {"items": [CREATED] * (len(lines) // 2)}

    def source() -> Iterator[Document]:
        *first, last = documents(3, size=400)
        yield from first
        read_on.set()
        yield last

    assert len(write_documents(Server(answer).client, source(), max_request_bytes=600).ok) == 3
