"""The proxies do what the faults rely on, to the real servers behind them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from harness.postgres_proxy import PostgresProxy
from harness.search_proxy import SearchProxy

Until = Callable[..., Any]
DOCUMENTS = 200


@pytest.fixture
def search_proxy(elasticsearch_url: str) -> Iterator[SearchProxy]:
    proxy = SearchProxy(urlsplit(elasticsearch_url).port or 0)
    yield proxy
    proxy.close()


@pytest.fixture
def through(search_proxy: SearchProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{search_proxy.port}", timeout=30) as client:
        yield client


@pytest.fixture
def postgres_proxy(database_url: str) -> Iterator[PostgresProxy]:
    proxy = PostgresProxy(urlsplit(database_url).port or 0)
    yield proxy
    proxy.close()


def bulk(client: httpx.Client) -> httpx.Response:
    lines = []
    for number in range(DOCUMENTS):
        lines += [{"index": {"_index": "signals-2026-11", "_id": str(number)}}, {"tenant_id": "7"}]
    lines.append({"delete": {"_index": "signals-2026-11", "_id": "none"}})
    body = "".join(json.dumps(line) + "\n" for line in lines)
    return client.post("/_bulk", content=body, headers={"Content-Type": "application/x-ndjson"})


@pytest.mark.parametrize("status", [429, 503])
def test_refused_documents_are_answered_for_in_their_place_and_the_others_written(
    search_proxy: SearchProxy, through: httpx.Client, status: int
) -> None:
    with search_proxy.refusing_documents(0.5, status):
        items = bulk(through).json()["items"]

    assert [next(iter(item)) for item in items] == ["index"] * DOCUMENTS + ["delete"]
    answers = {item["index"]["_id"]: item["index"]["status"] for item in items[:DOCUMENTS]}
    assert list(answers) == [str(number) for number in range(DOCUMENTS)]
    assert set(answers.values()) == {status, 201}
    written = {document_id for document_id, answer in answers.items() if answer == 201}
    through.post("/signals-2026-11/_refresh")
    hits = through.post("/signals-2026-11/_search", json={"size": DOCUMENTS}).json()["hits"]["hits"]
    assert {hit["_id"] for hit in hits} == written


def test_a_failing_server_answers_so_to_everything_and_recovers(
    search_proxy: SearchProxy, through: httpx.Client
) -> None:
    with search_proxy.failing(504):
        assert (through.get("/").status_code, bulk(through).status_code) == (504, 504)

    assert through.get("/").status_code == 200


def test_a_hanging_server_answers_when_it_is_over(
    search_proxy: SearchProxy, through: httpx.Client, until: Until
) -> None:
    answers: list[httpx.Response] = []
    sender = threading.Thread(target=lambda: answers.append(bulk(through)))
    with search_proxy.hanging(bulks_only=True):
        sender.start()
        until(lambda: search_proxy.held_bulks)
        assert httpx.get(f"http://127.0.0.1:{search_proxy.port}/").status_code == 200
        assert not answers
    sender.join()

    assert len(answers[0].json()["items"]) == DOCUMENTS + 1


def at_door(url: str, door: int) -> str:
    return url.replace(f":{urlsplit(url).port}/", f":{door}/")


def test_each_backend_is_told_by_the_door_it_came_through(
    database_url: str, postgres_proxy: PostgresProxy
) -> None:
    for owner in ("one", "other"):
        with psycopg.connect(at_door(database_url, postgres_proxy.door(owner))) as connection:
            found = connection.execute(
                "SELECT client_port FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            ).fetchone()

            assert found is not None
            assert postgres_proxy.owner(found[0]) == owner


def test_a_slow_connection_takes_its_time_in_both_directions(
    database_url: str, postgres_proxy: PostgresProxy
) -> None:
    url = at_door(database_url, postgres_proxy.door("one"))
    with psycopg.connect(url) as connection, postgres_proxy.slow(0.1):
        begun = time.monotonic()
        connection.execute("SELECT 1")
        assert time.monotonic() - begun >= 0.2


def test_dropped_connections_are_errors_and_new_ones_work(
    database_url: str, postgres_proxy: PostgresProxy
) -> None:
    url = at_door(database_url, postgres_proxy.door("one"))
    with psycopg.connect(url, autocommit=True) as connection:
        dropping = threading.Timer(0.1, postgres_proxy.drop_connections)
        dropping.start()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(60)")
        dropping.join()

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
