"""When rows of the outbox are tried again that the search server did not take, and what passes them meanwhile."""

from datetime import timedelta

import psycopg
import pytest
from elasticsearch import Elasticsearch
from indexing import OCTOBER, MakeStage, SignalStore, indexed

from common.database.queries import Queries
from common.search.template import ensure_template, index_name
from worker.index.outbox import pause_after
from worker.index.stage import IndexStage


@pytest.fixture
def locked_month(client: Elasticsearch) -> str:
    """The name of an index of one month that takes no writes."""
    ensure_template(client)
    name = index_name(OCTOBER)
    client.indices.create(index=name, settings={"index.blocks.write": True})
    return name


@pytest.mark.usefixtures("locked_month")
def test_newer_rows_are_indexed_while_older_ones_are_put_off(
    store: SignalStore, client: Elasticsearch, make_stage: MakeStage
) -> None:
    for _ in range(2):
        store.add(2, received_at=OCTOBER)
    newer = store.add(2)
    stage = make_stage(batch_events=2)

    assert [stage.step(0) for _ in range(3)] == [2, 2, 2]

    assert set(indexed(client)) == set(newer)
    assert store.pending() == [1, 2]


@pytest.mark.usefixtures("locked_month")
def test_rows_that_are_due_again_and_again_do_not_overtake_newer_ones(
    store: SignalStore, make_stage: MakeStage
) -> None:
    store.add(2, received_at=OCTOBER)
    stage = make_stage(batch_events=2)
    stage.step(0)
    store.add(2)
    store.set_due("0")

    assert stage.step(0) == 2

    assert store.pending() == [1]


def test_a_row_that_was_put_off_is_indexed_once_it_is_due(
    store: SignalStore, client: Elasticsearch, stage: IndexStage, locked_month: str
) -> None:
    store.add(2, received_at=OCTOBER)
    stage.step(0)
    client.indices.put_settings(index=locked_month, settings={"index.blocks.write": None})

    store.set_due("1 hour")
    assert stage.step(0) == 0
    store.set_due("0")
    assert stage.step(0) == 2

    assert indexed(client).keys() == store.ids
    assert store.pending() == []


@pytest.mark.usefixtures("locked_month")
def test_the_backlog_does_not_count_what_is_put_off(store: SignalStore, stage: IndexStage) -> None:
    store.add(2, received_at=OCTOBER)
    stage.step(0)

    store.set_due("1 hour")
    assert stage.backlog() == 0
    store.set_due("0")
    assert stage.backlog() > 0


@pytest.mark.usefixtures("locked_month")
def test_a_row_is_put_off_for_longer_each_time(store: SignalStore, stage: IndexStage) -> None:
    store.add(2, received_at=OCTOBER)
    for attempts in range(1, 4):
        store.execute("UPDATE outbox SET put_off_until = now()")
        assert stage.step(0) == 2
        assert store.put_off() == {1: attempts}
    # Counted from the last step, which is later than created_at: the floor holds however slow the machine.
    pause = store.value("SELECT put_off_until - created_at FROM outbox")
    assert pause >= timedelta(seconds=pause_after(2))


def test_the_pause_doubles_from_a_second_up_to_a_minute_for_ever() -> None:
    assert [pause_after(attempts) for attempts in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pause_after(2**31 - 1) == 60


@pytest.mark.parametrize("statement", ["lock_pending_batches", "estimate_backlog"])
def test_what_is_due_is_found_through_the_index_of_pending_rows(
    connection: psycopg.Connection, statement: str
) -> None:
    query = getattr(Queries("worker.index", "outbox.sql"), statement)
    # An empty table is cheapest to scan: forbid that, to see what the index can serve.
    connection.execute("SET enable_seqscan = off")
    plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {query}"))

    assert "outbox_pending" in plan
    assert "Index Cond: (COALESCE(put_off_until, created_at) <= now())" in plan
    assert "Sort" not in plan
