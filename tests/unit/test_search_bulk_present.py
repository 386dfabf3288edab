"""What is looked up before it is written: only what is missing or older is."""

import json
from typing import Any

from elastic_transport import ConnectionTimeout
from scripted_search import CREATED, Answer, Server, documents

from common.search.bulk import Failure, write_documents
from common.search.documents import DOCUMENT_VERSION


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
