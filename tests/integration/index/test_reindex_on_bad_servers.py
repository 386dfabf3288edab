"""A rebuild whose server is busy, loses documents or refuses them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from elasticsearch import Elasticsearch
from indexing import AddIndexed, SignalStore, answers, drain, indices, with_bulk_answers
from rebuilding import Rebuilds

from common.search import template
from common.search.bulk import write_documents
from common.search.documents import Document
from infrastructure.search import copying
from infrastructure.search.rebuilds import ReindexError
from worker.index.stage import IndexStage


def test_a_busy_server_gets_the_documents_that_it_did_not_take_again(
    elasticsearch_url: str, add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    ids = add_indexed(6)
    busy = [True]

    def refuse_one(answer: dict[str, Any]) -> dict[str, Any]:
        if busy and busy.pop():
            answer["items"][0] = {
                "index": {"status": 429, "error": {"type": "rejected", "reason": "somebody's words"}}
            }
        return answer

    with with_bulk_answers(elasticsearch_url, refuse_one) as mortal:
        assert rebuilds.run(client=mortal) == 6

    assert answers(client) == Counter(ids)
    assert "Elasticsearch did not take 1 documents (429); next try in 1 s" in rebuilds.said
    assert "words" not in rebuilds.said


def test_documents_that_the_server_lost_meanwhile_are_copied_again(
    add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    ids = add_indexed(12)
    rebuilds.interrupt(8)
    client.indices.delete(index="signals-2026-11-g2")

    assert rebuilds.run() == 4 + 12

    assert "4 documents got lost on the server" in rebuilds.said
    assert answers(client) == Counter(ids)


def test_a_server_that_loses_whatever_it_gets_never_serves(
    add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = add_indexed(8)

    def lose_one(server: Elasticsearch, documents: Sequence[Document], **options: bool) -> Any:
        outcome = write_documents(server, documents[1:], **options)
        outcome.ok.add(documents[0].id)
        return outcome

    monkeypatch.setattr(copying, "write_documents", lose_one)
    with pytest.raises(ReindexError, match="signals-2026-11-g2 still lacks 2 documents after 3 copies"):
        rebuilds.run()

    assert answers(client) == Counter(ids)
    assert indices(client) == {"signals-2026-11": True, "signals-2026-11-g2": False}


@pytest.mark.parametrize("stored_meanwhile", [0, 1])
def test_what_the_server_loses_once_the_new_index_serves_is_sent_again(
    stored_meanwhile: int,
    store: SignalStore,
    stage: IndexStage,
    add_indexed: AddIndexed,
    client: Elasticsearch,
    rebuilds: Rebuilds,
) -> None:
    add_indexed(8)
    rebuilds.interrupt(4)
    for _ in range(stored_meanwhile):
        store.add()
    drain(stage)
    rebuilds.run()
    store.execute("DELETE FROM outbox")  # as upkeep does after some minutes

    client.indices.delete(index="signals-2026-11-g2")
    add_indexed()

    assert answers(client) == Counter(store.ids)
    assert indices(client) == {"signals-2026-11-g2": True}


def test_refused_documents_are_recorded_and_hold_up_nothing(
    store: SignalStore,
    add_indexed: AddIndexed,
    client: Elasticsearch,
    rebuilds: Rebuilds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (refused,) = add_indexed(customer_id="no date")
    (taken,) = add_indexed(customer_id="2020-01-01")
    properties = dict(template._MAPPINGS["properties"])
    monkeypatch.setitem(template._MAPPINGS, "properties", properties | {"customer_id": {"type": "date"}})
    client.indices.delete_index_template(name=template.TEMPLATE)

    rebuilds.run()

    assert answers(client) == Counter([taken])
    assert store.value("SELECT array_agg(signal_id) FROM index_failures") == [UUID(refused)]

    monkeypatch.setitem(template._MAPPINGS, "properties", properties)
    client.indices.delete_index_template(name=template.TEMPLATE)
    rebuilds.run()

    assert answers(client) == Counter(store.ids)
    assert store.value("SELECT count(*) FROM index_failures") == 0
