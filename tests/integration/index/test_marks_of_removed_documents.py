"""Losses are noticed, and nothing is taken for one, after documents were removed on purpose."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from elasticsearch import Elasticsearch
from indexing import (
    NOVEMBER_INDEX,
    OCTOBER,
    AddIndexed,
    MakeStage,
    SignalStore,
    drain,
    indexed,
    resends,
    with_requests,
)
from patience import PATIENCE_SECONDS
from rebuilding import Rebuilds

from common.metrics import Metrics
from common.search.removal import remove_documents

Remove = Callable[..., int]


@pytest.fixture
def remove(connection: psycopg.Connection, client: Elasticsearch, store: SignalStore) -> Remove:
    """Removes all signals of a tenant, or one of them, from both stores; returns how many documents that was."""

    def run(tenant_id: int, signal_id: str | None = None) -> int:
        which = f"AND signal_id = '{signal_id}'" if signal_id else ""
        gone = store.rows(
            f"DELETE FROM signals WHERE tenant_id = {tenant_id} {which} RETURNING signal_id::text"
        )
        store.ids -= {each for (each,) in gone}
        return remove_documents(connection, client, tenant_id, []).total()

    return run


@pytest.mark.parametrize("removes", [False, True])
def test_an_index_that_is_lost_comes_back_whoever_was_removed_before(
    client: Elasticsearch,
    store: SignalStore,
    add_indexed: AddIndexed,
    make_stage: MakeStage,
    remove: Remove,
    removes: bool,
) -> None:
    add_indexed(3)
    add_indexed(2, tenant_id=2)
    if removes:
        assert remove(2) == 2
    store.execute("DELETE FROM outbox")
    client.indices.delete(index=NOVEMBER_INDEX)

    drain(make_stage())

    assert indexed(client).keys() == store.ids


def test_documents_that_are_lost_after_a_removal_come_back(
    client: Elasticsearch,
    store: SignalStore,
    add_indexed: AddIndexed,
    make_stage: MakeStage,
    remove: Remove,
    metrics: Metrics,
) -> None:
    """The mark names the last document that was written, wherever its signal is in the month."""
    add_indexed(3)
    add_indexed(2, tenant_id=2)
    remove(2)
    (marked,) = store.rows("SELECT newest_id::text, newest_seq_no FROM index_marks")
    numbers = {
        each["_id"]: each["_seq_no"]
        for each in client.mget(index=NOVEMBER_INDEX, ids=sorted(store.ids))["docs"]
    }
    assert marked == max(numbers.items(), key=lambda each: each[1])

    client.delete(index=NOVEMBER_INDEX, id=marked[0])
    drain(make_stage())

    assert indexed(client).keys() == store.ids
    assert resends(metrics) == 1


def test_a_removal_is_no_loss(
    client: Elasticsearch,
    store: SignalStore,
    add_indexed: AddIndexed,
    make_stage: MakeStage,
    remove: Remove,
    metrics: Metrics,
) -> None:
    add_indexed(2)
    add_indexed(2, tenant_id=2)
    for tenant_id in (2, 1):
        remove(tenant_id)
        drain(make_stage())
        assert indexed(client).keys() == store.ids

    assert resends(metrics) == 0


def test_a_removal_between_the_look_at_a_mark_and_at_its_document_is_no_loss(
    elasticsearch_url: str,
    store: SignalStore,
    add_indexed: AddIndexed,
    make_stage: MakeStage,
    remove: Remove,
    metrics: Metrics,
) -> None:
    add_indexed(2)
    add_indexed(2, tenant_id=2)
    removed: list[int] = []

    def remove_first(request: str, send: Callable[[], Any]) -> Any:
        if "/_mget" in request and not removed:
            removed.append(remove(2))
        return send()

    with with_requests(elasticsearch_url, remove_first) as unlucky:
        drain(make_stage(unlucky))

    assert removed == [2]
    assert resends(metrics) == 0


def test_an_index_that_is_lost_as_a_whole_goes_on_to_be_missed(
    client: Elasticsearch,
    connection: psycopg.Connection,
    store: SignalStore,
    add_indexed: AddIndexed,
    make_stage: MakeStage,
    remove: Remove,
) -> None:
    add_indexed(2)
    add_indexed(2, tenant_id=2)
    add_indexed(2, tenant_id=2, received_at=OCTOBER)
    store.execute(
        "UPDATE index_marks SET newest_id = october.newest_id FROM index_marks AS october"
        " WHERE october.received_from < index_marks.received_from"
    )
    client.indices.delete(index=NOVEMBER_INDEX)
    remove(2)

    drain(make_stage())

    assert indexed(client).keys() == store.ids


def test_marks_are_locked_in_one_order(
    database_url: str,
    store: SignalStore,
    add_indexed: AddIndexed,
    remove: Remove,
    until: Callable[..., Any],
) -> None:
    """Who locks them one after the other in that order, as stages do, never waits for a removal that waits for it."""
    add_indexed(1)
    add_indexed(1, received_at=OCTOBER)
    with psycopg.connect(database_url) as stage, ThreadPoolExecutor(1) as threads:
        stage.execute("SELECT FROM index_marks WHERE index_name = 'signals-2026-10' FOR UPDATE")
        removal = threads.submit(remove, 1)
        until(lambda: store.rows("SELECT FROM pg_locks WHERE NOT granted"))

        stage.execute("SELECT FROM index_marks FOR UPDATE NOWAIT")
        stage.commit()

        assert removal.result(timeout=PATIENCE_SECONDS) == 2


def test_a_document_that_is_removed_while_its_index_is_built_is_not_missed(
    client: Elasticsearch,
    elasticsearch_url: str,
    store: SignalStore,
    add_indexed: AddIndexed,
    rebuilds: Rebuilds,
    make_stage: MakeStage,
    remove: Remove,
    metrics: Metrics,
) -> None:
    last_written = sorted(add_indexed(6))[-4]  # of the page of four that is written again at the end
    removed: list[int] = []

    def remove_it(request: str, send: Callable[[], Any]) -> Any:
        answer = send()
        if "/_count" in request and not removed:
            removed.append(remove(1, last_written))
        return answer

    with with_requests(elasticsearch_url, remove_it) as other:
        rebuilds.run(client=other)

    assert removed == [2]  # from both indices
    assert drain(make_stage()) == 0
    assert resends(metrics) == 0
    assert store.value("SELECT newest_id::text FROM index_marks") in store.ids
    assert indexed(client).keys() == store.ids


def test_documents_that_are_still_to_be_deleted_hide_none_that_are_lost(
    client: Elasticsearch,
    elasticsearch_url: str,
    store: SignalStore,
    add_indexed: AddIndexed,
    rebuilds: Rebuilds,
) -> None:
    add_indexed(2)
    erased = add_indexed(2, customer_id="c-2")
    lost = min(store.ids - set(erased))
    store.execute(
        "INSERT INTO erasures (erasure_id, tenant_id, customer_hash, customer_id, erased_at)"
        " VALUES (gen_random_uuid(), 1, decode(md5('c-2'), 'hex'), 'c-2', now())"
    )
    target = "signals-2026-11-g2"
    requests: list[str] = []

    def lose_one(request: str, send: Callable[[], Any]) -> Any:
        answer = send()
        if "/_bulk" in request:
            requests.append(request)
            if len(requests) == 2:  # the page, and once more as the first one
                store.execute("DELETE FROM signals WHERE customer_id = 'c-2'")
                client.delete(index=target, id=lost)
        return answer

    with with_requests(elasticsearch_url, lose_one) as unlucky:
        rebuilds.run(client=unlucky)

    assert "got lost" in rebuilds.said
    assert lost in indexed(client)
