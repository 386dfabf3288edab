"""The erasure of a customer while somebody writes who has read already: it is waited for, or brings nothing back."""

import io
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from elastic_transport import Urllib3HttpNode
from elasticsearch import Elasticsearch
from people import MARK, NOON, TENANT, People, event
from rich.console import Console

from common.search.generations import share_generations
from infrastructure.search.rebuilds import plan_rebuilds
from infrastructure.search.reindex import Reindexer
from infrastructure.search.reindex_progress import LineProgress
from worker.erasure import stage as erasure


@pytest.fixture
def rebuild(people: People, database_url: str) -> Callable[..., None]:
    """Builds the index anew, by a client of one's own if one is given."""

    def run(search: Elasticsearch | None = None) -> None:
        progress = LineProgress(Console(file=io.StringIO()), quiet=True)
        with psycopg.connect(database_url, autocommit=True) as connection:
            rebuilds = plan_rebuilds(connection)
            Reindexer(connection, search or people.search, progress, grace_seconds=0).run(rebuilds)

    return run


def test_a_batch_that_looked_before_there_was_a_tombstone_is_waited_for(
    people: People, database_url: str
) -> None:
    people.send(event("e1"))
    with psycopg.connect(database_url) as batch:
        batch.execute("SELECT * FROM begin_batch(%s::integer[])", ([TENANT],))
        path = people.ask_to_erase()
        people.work(steps=1)
        assert people.receipt(path)["status"] == "pending"
        assert people.count("customers") == 1
        # What it found out before, it acts upon.
        batch.execute(
            "INSERT INTO events (event_key, received_at, batch_id, tenant_id, event_id, event_type, customer_id,"
            " occurred_at, raw) VALUES (gen_random_uuid(), %s, 1, %s, 'late', 'purchase', %s, %s, '{}')",
            (NOON, TENANT, MARK, NOON),
        )

    people.work()

    assert people.receipt(path)["status"] == "done"
    assert people.count("events") == 0


def test_a_batch_that_begins_with_a_tombstone_sees_it_whatever_it_reads_later(
    people: People, database_url: str
) -> None:
    """Its number is given before it looks: without that the erasure could not know that it has to wait."""
    with psycopg.connect(database_url) as batch:
        batch.execute("SELECT * FROM begin_batch(%s::integer[])", ([TENANT],))
        number = batch.execute("SELECT pg_current_xact_id_if_assigned()").fetchone()
        assert number is not None
        assert number[0] is not None


def test_a_writer_of_documents_that_read_the_signals_before_is_waited_for(
    people: People, database_url: str
) -> None:
    people.send(event("e1"))
    with psycopg.connect(database_url) as writer:
        people.ask_to_erase()
        people.work(steps=3)  # PostgreSQL has nothing more of the customer
        assert people.count("signals") == 0
        share_generations(writer)
        people.work(steps=2)
        assert len(people.documents()) == 1

    people.work()

    assert people.documents() == {}


def test_a_rebuild_of_the_index_brings_nothing_back(people: People, rebuild: Callable[..., None]) -> None:
    people.send(event("e1"), event("e2", "other"))
    people.erase()

    rebuild()

    assert [each["customer_id"] for each in people.documents().values()] == ["other"]


def test_a_rebuild_that_has_read_the_signals_already_brings_nothing_back(
    people: People,
    environment: dict[str, str],
    rebuild: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 0.02)
    people.send(event("e1"), event("e2", "other"))
    paths: list[str] = []

    class ErasingMeanwhile(Urllib3HttpNode):
        def perform_request(self, method: str, target: str, *args: Any, **options: Any) -> Any:
            if "/_bulk" in target and not paths:
                paths.append(people.ask_to_erase())
                people.work()
                assert people.receipt(paths[0])["status"] == "pending"
            return super().perform_request(method, target, *args, **options)

    with Elasticsearch(
        environment["ELASTICSEARCH_URL"], node_class=ErasingMeanwhile, max_retries=0
    ) as search:
        rebuild(search)
    people.work()

    assert people.receipt(paths[0])["status"] == "done"
    assert [each["customer_id"] for each in people.documents().values()] == ["other"]
