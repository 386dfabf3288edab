import json
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from elastic_transport import (
    ApiResponseMeta,
    BaseNode,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    TransportError,
)
from elastic_transport._node import NodeApiResponse
from elasticsearch import Elasticsearch

from common.errors import SearchUnavailableError, SettingsError
from common.search.bulk import Failure, write_documents
from common.search.client import open_async_client, open_client
from common.search.documents import DOCUMENT_VERSION, Document
from common.search.template import TEMPLATE_VERSION, ensure_template

Answer = tuple[int, Any]
CREATED = {"index": {"status": 201}}


class Server:
    """A server in a function: `answer` gets method, path and body lines, and returns status and JSON."""

    def __init__(self, answer: Callable[[str, str, list[bytes]], Answer]) -> None:
        self.requests: list[tuple[str, str, list[bytes]]] = []
        server = self

        class Node(BaseNode):
            def __init__(self, config: NodeConfig) -> None:
                super().__init__(config)

            def perform_request(  # type: ignore[override]
                self, method: str, target: str, body: bytes | None = None, **_: Any
            ) -> NodeApiResponse:
                path, lines = target.partition("?")[0], (body or b"").splitlines()
                server.requests.append((method, path, lines))
                status, content = answer(method, path, lines)
                headers = HttpHeaders(
                    {"content-type": "application/json", "x-elastic-product": "Elasticsearch"}
                )
                meta = ApiResponseMeta(status, "1.1", headers, 0.0, self.config)
                return NodeApiResponse(meta, json.dumps(content).encode())

            def close(self) -> None:
                pass

        self.client = Elasticsearch("http://search.test:9200", node_class=Node, max_retries=0)


def answering(*items: dict[str, Any]) -> Server:
    return Server(lambda *_: (200, {"items": list(items)}))


def documents(count: int, size: int = 20) -> list[Document]:
    return [Document("signals-2026-11", f"id-{n}", b'"' + b"x" * (size - 2) + b'"') for n in range(count)]


def item(status: int, error_type: str = "some_exception", **error: Any) -> dict[str, Any]:
    return {"index": {"status": status, "error": {"type": error_type, "reason": "why", **error}}}


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
def test_an_item_that_was_put_off_is_to_be_sent_again(status: int) -> None:
    outcome = write_documents(answering(CREATED, item(status), CREATED).client, documents(3))

    assert outcome.ok == {"id-0", "id-2"}
    assert outcome.retry == {"id-1": Failure(status, "some_exception: why")}
    assert not outcome.refused
    assert outcome.away is None


@pytest.mark.parametrize(
    ("status", "error_type"),
    [(404, "index_not_found_exception"), (400, "strict_dynamic_mapping_exception")],
)
def test_an_item_that_fails_for_the_servers_state_or_our_mapping_is_to_be_sent_again(
    status: int, error_type: str
) -> None:
    outcome = write_documents(answering(item(status, error_type)).client, documents(1))

    assert set(outcome.retry) == {"id-0"}


def test_an_item_that_is_refused_for_its_content_is_named_with_status_and_all_reasons() -> None:
    cause = {"type": "number_format_exception", "reason": "For input string"}
    outcome = write_documents(
        answering(CREATED, item(400, "document_parsing_exception", caused_by=cause)).client, documents(2)
    )

    reason = "document_parsing_exception: why; number_format_exception: For input string"
    assert outcome.refused == {"id-1": Failure(400, reason)}
    assert outcome.ok == {"id-0"}


def test_a_newer_document_in_the_index_counts_as_written() -> None:
    outcome = write_documents(answering(item(409, "version_conflict_engine_exception")).client, documents(1))

    assert outcome.ok == {"id-0"}


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


def test_an_answer_that_lacks_items_puts_off_the_whole_request() -> None:
    outcome = write_documents(answering(CREATED).client, documents(2))

    assert set(outcome.retry) == {"id-0", "id-1"}
    assert outcome.away == Failure(None, "answer for 1 of 2 documents")


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


@pytest.mark.parametrize(
    ("items", "fate"),
    [
        ([CREATED, CREATED], "ok"),
        ([CREATED, item(400)], "refused"),
        ([item(400), CREATED], "refused"),
        ([CREATED, item(429)], "retry"),
        ([item(400), item(429)], "retry"),
    ],
)
def test_a_document_for_two_indices_fares_as_the_worse_of_both(
    items: list[dict[str, Any]], fate: str
) -> None:
    twice = [Document(index, "id-0", b"{}") for index in ("signals-2026-11", "signals-2026-11-g2")]

    outcome = write_documents(answering(*items).client, twice)

    fates = {"ok": outcome.ok, "refused": outcome.refused, "retry": outcome.retry}
    assert {name: list(ids) for name, ids in fates.items() if ids} == {fate: ["id-0"]}


def looked_up(*found: dict[str, Any]) -> Server:
    """Answers for what it is asked to look up, and takes whatever is written."""
    return Server(
        lambda _method, path, lines: (
            (200, {"docs": list(found)})
            if path.endswith("/_mget")
            else (200, {"items": [CREATED] * (len(lines) // 2)})
        )
    )


def test_what_is_there_already_is_not_written_again() -> None:
    server = looked_up(
        {"found": True, "_version": DOCUMENT_VERSION},
        {"found": False},
        {"found": True, "_version": DOCUMENT_VERSION - 1},
        {"error": {"type": "index_not_found_exception"}},
    )

    outcome = write_documents(server.client, documents(4), skip_present=True)

    assert outcome.ok == {"id-0", "id-1", "id-2", "id-3"}
    (_, _, lines) = server.requests[-1]
    assert [json.loads(line)["index"]["_id"] for line in lines[::2]] == ["id-1", "id-2", "id-3"]


def test_where_all_is_there_nothing_is_written() -> None:
    server = looked_up(*[{"found": True, "_version": DOCUMENT_VERSION}] * 3)

    assert write_documents(server.client, documents(3), skip_present=True).ok == {"id-0", "id-1", "id-2"}
    assert len(server.requests) == 1


def test_a_server_that_cannot_look_up_gets_everything_written() -> None:
    server = Server(
        lambda _method, path, _lines: (
            (403, {}) if path.endswith("/_mget") else (200, {"items": [CREATED] * 2})
        )
    )

    assert write_documents(server.client, documents(2), skip_present=True).ok == {"id-0", "id-1"}


def test_a_look_up_without_an_answer_puts_off_everything() -> None:
    def lost(*_: object) -> Answer:
        raise ConnectionTimeout("no answer")

    outcome = write_documents(Server(lost).client, documents(3), skip_present=True)

    assert outcome.retry == dict.fromkeys(("id-0", "id-1", "id-2"), Failure(None, "ConnectionTimeout"))
    assert outcome.away == Failure(None, "ConnectionTimeout")


def test_nothing_to_write_asks_nothing() -> None:
    server = answering()

    assert not write_documents(server.client, []).ok
    assert not server.requests


def template_answer(version: int) -> Answer:
    found = {"name": "signals", "index_template": {"version": version}}
    return 200, {"index_templates": [found]}


def test_a_server_that_lost_the_template_gets_it_again() -> None:
    stored: list[int] = []

    def answer(method: str, _path: str, lines: list[bytes]) -> Answer:
        if method == "PUT":
            stored.append(json.loads(lines[0])["version"])
            return 200, {"acknowledged": True}
        return template_answer(stored[-1]) if stored else (404, {"error": "missing"})

    server = Server(answer)
    ensure_template(server.client)
    ensure_template(server.client)
    stored.clear()
    ensure_template(server.client)

    assert [method for method, _, _ in server.requests] == ["GET", "PUT", "GET", "GET", "PUT"]


def test_a_newer_template_is_left_alone() -> None:
    server = Server(lambda *_: template_answer(TEMPLATE_VERSION + 1))

    ensure_template(server.client)

    assert [method for method, _, _ in server.requests] == ["GET"]


@pytest.mark.parametrize("status", [401, 429, 502])
def test_a_server_that_is_busy_or_locked_is_search_unavailable(status: int) -> None:
    with pytest.raises(SearchUnavailableError, match=str(status)):
        ensure_template(Server(lambda *_: (status, {"error": "no"})).client)


def test_a_broken_connection_is_search_unavailable() -> None:
    def break_off(*_: Any) -> Answer:
        raise TransportError("gone")

    with pytest.raises(SearchUnavailableError, match="cannot be reached"):
        ensure_template(Server(break_off).client)


@pytest.mark.parametrize("opened", [open_client, open_async_client])
def test_a_wrong_url_is_a_settings_error_that_does_not_show_it(opened: Callable[[str], object]) -> None:
    with pytest.raises(SettingsError) as raised:
        opened("user:hunter2@nowhere")
    assert "hunter2" not in str(raised.value)


def test_the_next_request_is_made_ready_while_the_server_has_one() -> None:
    read_on = Event()

    def answer(_method: str, _path: str, lines: list[bytes]) -> Answer:
        assert read_on.wait(30)
        return 200, {"items": [CREATED] * (len(lines) // 2)}

    def source() -> Iterator[Document]:
        *first, last = documents(3, size=400)
        yield from first
        read_on.set()
        yield last

    assert len(write_documents(Server(answer).client, source(), max_request_bytes=600).ok) == 3


def test_numbers_beyond_doubles_in_an_answer_do_no_harm() -> None:
    with open_client("http://search.test:9200") as client:
        answer = client.transport.serializers.loads(b'{"x": %b}' % (b"9" * 400), "application/json")

    assert answer == {"x": int("9" * 400)}
