"""Documents of signals that were erased while a worker was about to write them, and lost its transaction."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from elasticsearch import Elasticsearch
from indexing import (
    NOVEMBER,
    NOVEMBER_INDEX,
    MakeStage,
    SignalStore,
    drain,
    indexed,
    month,
    with_bulk_answers,
    with_requests,
)
from rebuilding import Rebuilds

from common.errors import DatabaseUnavailableError, SearchUnavailableError
from common.search.removal import remove_documents
from infrastructure.search.repair import Repairer
from infrastructure.search.verify import Difference

LARGE = {"note": "x" * 200_000}  # three documents do not fit into one request


def erase(connection: psycopg.Connection, client: Elasticsearch, customer_id: str = "c-1") -> None:
    """As an erasure does it that finds no transaction to wait for."""
    connection.execute("DELETE FROM signals WHERE customer_id = %s", (customer_id,))
    remove_documents(connection, client, 1, [{"term": {"customer_id": customer_id}}])


def end_open_transactions(connection: psycopg.Connection, last_statement: str = "%") -> int:
    """As idle_in_transaction_session_timeout does of a worker that sleeps."""
    ended = connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'idle in transaction' AND query LIKE %s",
        (last_statement,),
    )
    return ended.rowcount


@pytest.fixture
def sleeping(elasticsearch_url: str) -> Callable[..., Elasticsearch]:
    """Makes a client on which `meanwhile` happens once, before its `nth` bulk request reaches the server."""

    def make(meanwhile: Callable[[], Any], requests: list[str], nth: int = 1) -> Elasticsearch:
        def around(request: str, send: Callable[[], Any]) -> Any:
            if "/_bulk" in request:
                requests.append(request)
                if len(requests) == nth:
                    meanwhile()
            return send()

        return with_requests(elasticsearch_url, around)

    return make


def test_a_worker_that_slept_in_front_of_its_request_takes_back_what_was_erased_meanwhile(
    connection: psycopg.Connection,
    client: Elasticsearch,
    store: SignalStore,
    make_stage: MakeStage,
    sleeping: Callable[..., Elasticsearch],
) -> None:
    store.add(2)
    kept = store.add(2, customer_id="c-2")

    def sleep() -> None:
        assert end_open_transactions(connection) == 1
        erase(connection, client)
        drain(make_stage())  # another worker's; it marks the rows

    with sleeping(sleep, []) as slow:
        stage = make_stage(slow)
        with pytest.raises(DatabaseUnavailableError):
            stage.step(0)
        assert indexed(client).keys() == store.ids

        stage.step(0)

    assert indexed(client).keys() == set(kept)


def test_what_a_worker_could_not_take_back_at_once_it_does_at_the_end_of_its_drain(
    connection: psycopg.Connection,
    client: Elasticsearch,
    store: SignalStore,
    make_stage: MakeStage,
    sleeping: Callable[..., Elasticsearch],
) -> None:
    store.add(2)

    def sleep() -> None:
        end_open_transactions(connection)
        erase(connection, client)
        drain(make_stage())

    with sleeping(sleep, []) as slow:
        stage = make_stage(slow)
        with pytest.raises(DatabaseUnavailableError):
            stage.step(0)

        stage.close()

    assert indexed(client) == {}


def test_a_worker_that_lost_its_transaction_sends_no_further_request(
    connection: psycopg.Connection,
    client: Elasticsearch,
    store: SignalStore,
    make_stage: MakeStage,
    sleeping: Callable[..., Elasticsearch],
    until: Callable[..., Any],
) -> None:
    store.add(1)
    requests: list[str] = []

    def sleep() -> None:
        # Once all is read, only the next request is left to do.
        until(lambda: end_open_transactions(connection, "CLOSE%"))

    with sleeping(sleep, requests, nth=2) as slow:
        stage = make_stage(slow)
        drain(stage)
        store.add(3, data=LARGE)
        with pytest.raises(DatabaseUnavailableError):
            stage.step(0)

    assert len(requests) == 2
    assert len(indexed(client)) == 3


def test_what_a_killed_worker_wrote_after_an_erasure_goes_with_its_row_of_the_outbox(
    connection: psycopg.Connection,
    client: Elasticsearch,
    store: SignalStore,
    make_stage: MakeStage,
    sleeping: Callable[..., Elasticsearch],
) -> None:
    """Its request was on the way, and is carried out late."""
    store.add(2)
    kept = store.add(2, customer_id="c-2")

    def erase_meanwhile() -> None:
        end_open_transactions(connection)
        erase(connection, client)

    with sleeping(erase_meanwhile, []) as slow, pytest.raises(DatabaseUnavailableError):
        make_stage(slow).step(0)
    assert indexed(client).keys() == store.ids

    drain(make_stage())

    assert indexed(client).keys() == set(kept)
    assert store.pending() == []


def test_a_row_of_erased_signals_is_not_marked_before_their_documents_are_gone(
    connection: psycopg.Connection,
    client: Elasticsearch,
    elasticsearch_url: str,
    store: SignalStore,
    make_stage: MakeStage,
) -> None:
    erased = store.add(1)
    store.add(1, customer_id="c-2")
    client.index(index=NOVEMBER_INDEX, id=erased[0], document={"tenant_id": 1, "customer_id": "c-1"})
    connection.execute("DELETE FROM signals WHERE customer_id = 'c-1'")

    with (
        with_bulk_answers(elasticsearch_url, lambda _: {"items": []}) as silent,
        pytest.raises(SearchUnavailableError),
    ):
        make_stage(silent).step(0)
    assert len(store.pending()) == 2

    drain(make_stage())

    assert erased[0] not in indexed(client)
    assert store.pending() == []


def test_documents_that_cannot_be_deleted_hold_up_their_own_rows_alone(
    connection: psycopg.Connection,
    elasticsearch_url: str,
    store: SignalStore,
    make_stage: MakeStage,
) -> None:
    """As in a month whose index is closed."""
    store.add(1)
    store.add(1, customer_id="c-2")
    make_stage().step(0)
    store.execute("UPDATE outbox SET indexed_at = NULL")
    connection.execute("DELETE FROM signals WHERE customer_id = 'c-1'")

    def refuse_deletions(answer: dict[str, Any]) -> dict[str, Any]:
        return {
            "items": [
                {kind: {"status": 403} if kind == "delete" else item}
                for each in answer["items"]
                for kind, item in each.items()
            ]
        }

    with with_bulk_answers(elasticsearch_url, refuse_deletions) as closed:
        assert make_stage(closed).step(0) == 2

    assert store.put_off() == dict.fromkeys(store.pending(), 1)
    assert len(store.pending()) == 1


def rebuild(connection: psycopg.Connection, client: Elasticsearch, _: str) -> None:
    Rebuilds(connection, client).run()


def repair(connection: psycopg.Connection, client: Elasticsearch, signal_id: str) -> None:
    missing = Difference("missing", "2026-11", NOVEMBER_INDEX, signal_id)
    Repairer(connection, client).repair(month(NOVEMBER), [missing])


@pytest.mark.parametrize("command", [rebuild, repair])
def test_a_command_that_lost_its_transaction_writes_nothing(
    command: Callable[[psycopg.Connection, Elasticsearch, str], None],
    database_url: str,
    elasticsearch_url: str,
    store: SignalStore,
) -> None:
    (stored,) = store.add(1)
    requests: list[str] = []

    def sleep(request: str, send: Callable[[], Any]) -> Any:
        requests.append(request)
        if "_alias" in request:  # once the signals are read, before their documents are written
            end_open_transactions(store.connection)
        return send()

    with (
        psycopg.connect(database_url, autocommit=True) as connection,
        with_requests(elasticsearch_url, sleep) as slow,
        pytest.raises(psycopg.OperationalError),
    ):
        command(connection, slow, stored)

    assert not [request for request in requests if "/_bulk" in request]
