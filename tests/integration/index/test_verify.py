"""``sspp verify`` over a real PostgreSQL and a real search server, while the index stage works."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from elasticsearch import Elasticsearch
from indexing import NOVEMBER, NOVEMBER_INDEX, OCTOBER, SignalStore, drain
from psycopg_pool import ConnectionPool
from typer.testing import CliRunner, Result

from common.search.template import ensure_template
from infrastructure.cli.main import app
from infrastructure.search import matching
from worker.index import IndexStage

WITHOUT_PARTITION = datetime(2011, 3, 5, tzinfo=UTC)
DATA = {
    "amount": 0.1,
    "many": 123456789012345678901234567890,
    "whole": 2.0,
    "nested": [{"a": -1e20}, None, True, ""],
}


@pytest.fixture
def store(store: SignalStore) -> Callable[..., list[str]]:
    """Stores a batch of signals whose data servers may keep in their own way; returns their ids in order."""
    return partial(store.add, data=DATA)


@dataclass
class Verified:
    exit_code: int
    output: str
    records: list[dict[str, Any]]

    def differences(self, look: int = 1) -> set[tuple[str, str, str | None, int | None]]:
        return {
            (each["kind"], each["index"], each["signal_id"], each["tenant_id"])
            for each in self.records
            if each["record"] == "difference" and each["look"] == look
        }

    def total(self, name: str) -> int:
        return sum(each[name] for each in self.records if each["record"] == "index" and each["look"] == 1)


@pytest.fixture
def verify(database_url: str, elasticsearch_url: str, tmp_path: Path) -> Callable[..., Verified]:
    servers = {"DATABASE_URL": database_url, "ELASTICSEARCH_URL": elasticsearch_url}

    def run(*arguments: str, **environment: str) -> Verified:
        file = tmp_path / "differences.ndjson"
        command = ["verify", "--output", str(file), *arguments]
        result: Result = CliRunner().invoke(app, command, env=servers | environment)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        lines = file.read_text().splitlines() if file.exists() else []
        return Verified(result.exit_code, result.output, [json.loads(line) for line in lines])

    return run


def test_equal_sides_are_said_to_be_equal(
    stage: IndexStage, store: Callable[..., list[str]], verify: Callable[..., Verified]
) -> None:
    for received_at in (OCTOBER, NOVEMBER, WITHOUT_PARTITION):
        store(3, received_at=received_at)
        store(2, received_at=received_at, tenant_id=2)
    drain(stage)

    verified = verify()

    assert verified.exit_code == 0, verified.output
    assert "PostgreSQL and the index are equal." in verified.output
    assert verified.differences() == set()
    assert verified.total("signals") == verified.total("documents") == 15


def test_nothing_at_all_is_equal(verify: Callable[..., Verified]) -> None:
    assert verify().exit_code == 0
    assert verify("--month", "2026-11").exit_code == 0


def test_every_missing_stale_and_extra_document_is_named_and_repaired(
    pool: ConnectionPool,
    client: Elasticsearch,
    stage: IndexStage,
    store: Callable[..., list[str]],
    verify: Callable[..., Verified],
) -> None:
    ids = store(10)
    strayed, expired = store(2, tenant_id=7)
    (october,) = store(1, received_at=OCTOBER)
    drain(stage)
    source = client.get(index=NOVEMBER_INDEX, id=ids[2])["_source"]
    expected = set()

    for missing in (ids[0], ids[4], ids[9], strayed):
        client.delete(index=NOVEMBER_INDEX, id=missing, version=1, version_type="external_gte")
        expected.add(("missing", NOVEMBER_INDEX, missing, 7 if missing == strayed else 1))
    # What says something else, in a field or deep in the data, lacks a field, or is of an older version.
    for stale, change in (
        (ids[2], {"customer_id": "c-2"}),
        (ids[3], {"data": DATA | {"nested": [{"a": -1e20}, None, 1, ""]}}),
        (ids[5], {"data": DATA | {"many": 123456789012345678901234567890 * 2}}),
        (ids[6], {"signal_id": ids[7]}),
        (ids[1], {"received_at": "2026-11-02T00:00:00Z"}),
        (ids[7], {"received_at": None}),
    ):
        body = client.get(index=NOVEMBER_INDEX, id=stale)["_source"] | change
        client.index(index=NOVEMBER_INDEX, id=stale, document=body, version=1, version_type="external_gte")
        expected.add(("stale", NOVEMBER_INDEX, stale, 1))
    client.delete(index=NOVEMBER_INDEX, id=ids[8], version=1, version_type="external_gte")
    older = source | {"signal_id": ids[8], "event_id": "1-8"}
    client.index(index=NOVEMBER_INDEX, id=ids[8], document=older, version=0, version_type="external_gte")
    expected.add(("stale", NOVEMBER_INDEX, ids[8], 1))
    # What nobody sent, what lies in the wrong month or under a wrong id, and what retention dropped.
    nobody = str(uuid4())
    for extra, body in (
        (nobody, source | {"signal_id": nobody, "tenant_id": 3}),
        (october, source | {"signal_id": october, "tenant_id": 3}),
        ("by hand", source | {"tenant_id": 3}),
        ("without an id", {"tenant_id": 3}),
        ("of another month", source | {"tenant_id": 3, "received_at": "2011-03-05T00:00:00Z"}),
        ("of the next month", source | {"tenant_id": 3, "received_at": "2026-12-01T00:00:00Z"}),
    ):
        client.index(index=NOVEMBER_INDEX, id=extra, document=body, version=1, version_type="external_gte")
        expected.add(("extra", NOVEMBER_INDEX, extra, 3))
    with pool.connection() as connection:
        connection.execute("DELETE FROM signals WHERE signal_id = %s", (UUID(expired),))
    expected.add(("extra", NOVEMBER_INDEX, expired, 7))

    verified = verify()
    assert verified.exit_code == 1
    assert verified.differences() == expected
    assert all(each[2] in verified.output for each in expected)
    details = {each["signal_id"]: each["detail"] for each in verified.records if each.get("kind") == "stale"}
    assert details[ids[2]] == "customer_id"
    assert details[ids[3]] == details[ids[5]] == "data"

    repaired = verify("--repair")
    assert repaired.exit_code == 0, repaired.output
    assert repaired.differences() == expected
    assert repaired.differences(look=2) == set()
    assert f"{len(expected)} differences repaired" in repaired.output

    again = verify()
    assert again.exit_code == 0
    assert again.total("documents") == again.total("signals") == 12


def test_differences_are_found_on_every_page(
    client: Elasticsearch,
    stage: IndexStage,
    store: Callable[..., list[str]],
    verify: Callable[..., Verified],
) -> None:
    ids = store(1100)
    drain(stage)
    lost = {ids[n] for n in (0, 498, 499, 500, 998, 999, 1000, 1098, 1099)}
    client.bulk(
        index=NOVEMBER_INDEX,
        operations=[{"delete": {"_id": each, "version": 1, "version_type": "external_gte"}} for each in lost],
    )

    assert {each[2] for each in verify().differences()} == lost

    assert verify("--repair").exit_code == 0
    assert verify().exit_code == 0


@pytest.mark.parametrize("most_held", [4, 5_000])
def test_instants_of_one_millisecond_are_told_apart_by_their_ids(
    most_held: int,
    client: Elasticsearch,
    stage: IndexStage,
    store: Callable[..., list[str]],
    verify: Callable[..., Verified],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which the index cannot do: and also if there are more of them than are held in memory."""
    monkeypatch.setattr(matching, "_MOST_HELD", most_held)
    ids = [
        each
        for microseconds in (-1, 0, 1, 2, 998, 999, 1000)
        for each in store(5, received_at=NOVEMBER + timedelta(microseconds=microseconds))
    ]
    drain(stage)
    assert verify().exit_code == 0
    expected = set()
    for lost in ids[3::7]:
        client.delete(index=NOVEMBER_INDEX, id=lost, version=1, version_type="external_gte")
        expected.add(("missing", NOVEMBER_INDEX, lost, 1))
    for stale in ids[4::7]:
        body = client.get(index=NOVEMBER_INDEX, id=stale)["_source"] | {"customer_id": "c-2"}
        client.index(index=NOVEMBER_INDEX, id=stale, document=body, version=1, version_type="external_gte")
        expected.add(("stale", NOVEMBER_INDEX, stale, 1))

    verified = verify("--repair")

    assert verified.differences() == expected
    assert sum(each["record"] == "difference" for each in verified.records) == len(expected)
    assert verified.total("documents") == len(ids) - 5
    assert verify().exit_code == 0


def test_a_month_without_an_index_is_missing_as_a_whole(
    client: Elasticsearch,
    stage: IndexStage,
    store: Callable[..., list[str]],
    verify: Callable[..., Verified],
) -> None:
    lost = store(600, received_at=OCTOBER)
    store(3)
    drain(stage)
    client.indices.delete(index="signals-2026-10")

    verified = verify("--limit", "5")

    assert verified.exit_code == 1
    assert {each[2] for each in verified.differences()} == set(lost)
    assert sum(each in verified.output for each in lost) == 5
    assert "595 more" in verified.output
    assert verify("--month", "2026-11").exit_code == 0
    assert verify("--repair", "--month", "2026-10").exit_code == 0
    assert verify().exit_code == 0


def test_what_waits_to_be_indexed_is_not_missing(
    client: Elasticsearch,
    stage: IndexStage,
    store: Callable[..., list[str]],
    verify: Callable[..., Verified],
) -> None:
    store(2)
    drain(stage)
    store(3)

    verified = verify()

    assert verified.exit_code == 0
    assert verified.differences() == set()
    assert verified.total("pending") == 3
    assert "3 are still waiting to be indexed" in verified.output


def test_what_elasticsearch_refused_is_named_so_and_tried_again(
    client: Elasticsearch,
    stage: IndexStage,
    store: Callable[..., list[str]],
    verify: Callable[..., Verified],
) -> None:
    # An index of another mapping stands in for content that a server refuses.
    ensure_template(client)
    client.indices.create(
        index=NOVEMBER_INDEX,
        mappings={"properties": {"customer_id": {"type": "date"}}},
        aliases={"signals": {}},
    )
    (refused,) = store(1, customer_id="no date", tenant_id=3)
    store(2, customer_id="2020-01-01")
    drain(stage)
    expected = {("refused", NOVEMBER_INDEX, refused, 3)}

    verified = verify()
    assert verified.exit_code == 1
    assert verified.differences() == expected
    assert "400: " in verified.output

    repaired = verify("--repair")
    assert repaired.exit_code == 1
    assert repaired.differences(look=2) == expected

    client.indices.delete(index=NOVEMBER_INDEX)
    assert verify("--repair").exit_code == 0
    assert verify().exit_code == 0


def test_an_index_that_searches_do_not_see_is_named_and_put_behind_the_alias(
    client: Elasticsearch,
    stage: IndexStage,
    store: Callable[..., list[str]],
    verify: Callable[..., Verified],
) -> None:
    store(2)
    drain(stage)
    client.indices.delete_alias(index=NOVEMBER_INDEX, name="signals")

    verified = verify()
    assert verified.exit_code == 1
    assert verified.differences() == {("hidden", NOVEMBER_INDEX, None, None)}

    assert verify("--repair").exit_code == 0
    assert client.count(index="signals")["count"] == 2


def test_an_index_that_should_not_answer_searches_is_too_much(
    client: Elasticsearch,
    stage: IndexStage,
    store: Callable[..., list[str]],
    verify: Callable[..., Verified],
) -> None:
    (stored,) = store(1)
    drain(stage)
    stray = f"{NOVEMBER_INDEX}-g9"
    client.indices.create(index=stray, aliases={"signals": {}})
    client.index(index=stray, id=stored, document=client.get(index=NOVEMBER_INDEX, id=stored)["_source"])

    verified = verify()
    assert verified.exit_code == 1
    assert verified.differences() == {("extra", stray, stored, 1)}

    assert verify("--repair").exit_code == 0
    client.indices.refresh(index="signals")
    assert client.count(index="signals")["count"] == 1


def test_nothing_differs_while_events_flow(
    stage: IndexStage, store: Callable[..., list[str]], verify: Callable[..., Verified]
) -> None:
    store(1000)
    drain(stage)
    stop = threading.Event()

    def flow() -> None:
        while not stop.is_set():
            store(20)
            drain(stage)

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
    client: Elasticsearch,
    stage: IndexStage,
    store: Callable[..., list[str]],
    verify: Callable[..., Verified],
) -> None:
    (lost,) = store(1)
    drain(stage)
    client.delete(index=NOVEMBER_INDEX, id=lost, version=1, version_type="external_gte")

    verified = verify("--json")

    assert [json.loads(line) for line in verified.output.splitlines()] == verified.records
    assert verified.exit_code == 1


@pytest.mark.parametrize("name", ["DATABASE_URL", "ELASTICSEARCH_URL"])
def test_a_server_that_is_away_is_no_difference(verify: Callable[..., Verified], name: str) -> None:
    scheme = "postgresql" if name == "DATABASE_URL" else "http"

    verified = verify(**{name: f"{scheme}://127.0.0.1:1/x"})

    assert verified.exit_code == 2
    assert "cannot be reached" in verified.output
