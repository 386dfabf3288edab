"""The template of the indices, on servers that lack it, have a newer one, or do not answer."""

import json
from typing import Any

import pytest
from elastic_transport import TransportError
from scripted_search import Answer, Server

from common.errors import SearchUnavailableError
from common.search.template import TEMPLATE_VERSION, ensure_template


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
