"""``sspp verify`` over a real PostgreSQL and a real search server, while the index stage works: what it tells."""

import json
import threading
from datetime import UTC, datetime

import pytest
from elasticsearch import Elasticsearch
from indexing import NOVEMBER, OCTOBER, AddIndexed, SignalStore
from verifying import Verify, delete

WITHOUT_PARTITION = datetime(2011, 3, 5, tzinfo=UTC)


def test_equal_sides_are_said_to_be_equal(add_indexed: AddIndexed, verify: Verify) -> None:
    for received_at in (OCTOBER, NOVEMBER, WITHOUT_PARTITION):
        add_indexed(3, received_at=received_at)
        add_indexed(2, received_at=received_at, tenant_id=2)

    verified = verify()

    assert verified.exit_code == 0, verified.output
    assert "PostgreSQL and the index are equal." in verified.output
    assert verified.differences() == set()
    assert verified.total("signals") == verified.total("documents") == 15


def test_nothing_at_all_is_equal(verify: Verify) -> None:
    assert verify().exit_code == 0
    assert verify("--month", "2026-11").exit_code == 0


def test_what_waits_to_be_indexed_is_not_missing(
    add_indexed: AddIndexed, store: SignalStore, verify: Verify
) -> None:
    add_indexed(2)
    store.add(3)

    verified = verify()

    assert verified.exit_code == 0
    assert verified.differences() == set()
    assert verified.total("pending") == 3
    assert "3 are still waiting to be indexed" in verified.output


def test_nothing_differs_while_events_flow(add_indexed: AddIndexed, verify: Verify) -> None:
    add_indexed(1000)
    stop = threading.Event()

    def flow() -> None:
        while not stop.is_set():
            add_indexed(20)

    flowing = threading.Thread(target=flow)
    flowing.start()
    try:
        verified = [verify() for _ in range(4)]
    finally:
        stop.set()
        flowing.join()

    assert [each.differences() for each in verified] == [set()] * 4
    assert [each.exit_code for each in verified] == [0] * 4
    assert verified[-1].total("signals") > 1000


def test_machines_get_the_same_lines_on_stdout(
    client: Elasticsearch, add_indexed: AddIndexed, verify: Verify
) -> None:
    (lost,) = add_indexed(1)
    delete(client, lost)

    verified = verify("--json")

    assert [json.loads(line) for line in verified.output.splitlines()] == verified.records
    assert verified.exit_code == 1


@pytest.mark.parametrize("name", ["DATABASE_URL", "ELASTICSEARCH_URL"])
def test_a_server_that_is_away_is_no_difference(verify: Verify, name: str) -> None:
    scheme = "postgresql" if name == "DATABASE_URL" else "http"

    verified = verify(**{name: f"{scheme}://127.0.0.1:1/x"})

    assert verified.exit_code == 2
    assert "cannot be reached" in verified.output
