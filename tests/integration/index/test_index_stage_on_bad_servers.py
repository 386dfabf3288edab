"""What the index stage does with documents that the search server does not take."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from indexing import (
    NOVEMBER_INDEX,
    MakeStage,
    SignalStore,
    drain,
    indexed,
    with_bulk_answers,
    with_requests,
)
from structlog.testing import capture_logs

from common.errors import SearchUnavailableError
from common.metrics import Metrics
from common.search.client import open_client
from common.search.template import ALIAS, ensure_template
from worker.index.stage import IndexStage


def failures(store: SignalStore) -> list[tuple[Any, ...]]:
    return store.rows("SELECT signal_id::text, tenant_id, status, reason FROM index_failures")


def test_rows_stay_pending_while_search_is_away(
    store: SignalStore, make_stage: MakeStage, stage: IndexStage
) -> None:
    store.add(2)
    with open_client("http://127.0.0.1:1") as nowhere:
        away = make_stage(client=nowhere)
        for _ in range(3):
            with pytest.raises(SearchUnavailableError):
                away.step(0)
    assert store.pending() == [1]
    assert store.put_off() == {}

    assert stage.step(0) == 2
    assert store.pending() == []


def test_a_batch_with_one_document_put_off_stays_pending_and_its_neighbours_do_not(
    store: SignalStore,
    client: Elasticsearch,
    elasticsearch_url: str,
    make_stage: MakeStage,
    stage: IndexStage,
    metrics: Metrics,
) -> None:
    for _ in range(3):
        store.add(2)
    busy = {"index": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "full"}}}

    def refuse_one(answer: dict[str, Any]) -> dict[str, Any]:
        return {"items": [*answer["items"][:-1], busy]}

    with with_bulk_answers(elasticsearch_url, refuse_one) as busy_client, capture_logs() as lines:
        assert make_stage(client=busy_client).step(0) == 6

    assert store.put_off() == dict.fromkeys(store.pending(), 1)
    assert len(store.pending()) == 1
    assert metrics.registry.get_sample_value("sspp_documents_put_off_total") == 1
    (line,) = [line for line in lines if line["event"] == "documents_put_off"]
    assert line == {
        "event": "documents_put_off",
        "log_level": "warning",
        "count": 1,
        "statuses": {"429": 1},
    }

    store.set_due("0")
    assert stage.step(0) == 2
    assert store.pending() == []
    assert failures(store) == []
    assert indexed(client).keys() == store.ids


def test_what_was_written_without_an_answer_is_not_written_again(
    store: SignalStore, client: Elasticsearch, elasticsearch_url: str, make_stage: MakeStage
) -> None:
    """To replace a document may take longer than to write it: a slow request, sent again as it was, ends never."""
    store.add(2)
    written: list[int] = []

    def lose_the_answer(answer: dict[str, Any]) -> dict[str, Any]:
        written.append(len(answer["items"]))
        return {"items": []}

    with with_bulk_answers(elasticsearch_url, lose_the_answer) as silent:
        stage = make_stage(client=silent)
        with pytest.raises(SearchUnavailableError):
            stage.step(0)
        assert written == [2]

        assert stage.step(0) == 2

    assert written == [2]
    assert store.pending() == []
    assert indexed(client).keys() == store.ids


def test_a_request_that_fails_as_a_whole_puts_no_row_off(
    store: SignalStore, elasticsearch_url: str, make_stage: MakeStage, metrics: Metrics
) -> None:
    store.add(2)

    with (
        with_bulk_answers(elasticsearch_url, lambda _: {"items": []}) as broken,
        pytest.raises(SearchUnavailableError, match="did not take 2 documents"),
    ):
        make_stage(client=broken).step(0)

    assert store.pending() == [1]
    assert store.put_off() == {}
    assert not metrics.registry.get_sample_value("sspp_documents_put_off_total")


def test_an_index_that_the_server_refuses_to_make_is_waited_for(
    store: SignalStore, elasticsearch_url: str, make_stage: MakeStage, stage: IndexStage
) -> None:
    """As a cluster does that has as many shards as it may."""

    def refuse_indices(request: str, send: Callable[[], Any]) -> Any:
        answer = send()
        if request.startswith(f"PUT /{ALIAS}-"):
            body = {"error": {"type": "validation_exception", "reason": "too many shards"}, "status": 400}
            return answer._replace(
                meta=dataclasses.replace(answer.meta, status=400), body=json.dumps(body).encode()
            )
        return answer

    store.add(2)

    with (
        with_requests(elasticsearch_url, refuse_indices) as full,
        pytest.raises(SearchUnavailableError, match="400 validation_exception"),
    ):
        make_stage(client=full).step(0)

    assert store.pending() == [1]
    assert store.put_off() == {}
    assert stage.step(0) == 2


def test_a_refused_document_is_recorded_and_sinks_no_neighbour(
    store: SignalStore, client: Elasticsearch, stage: IndexStage, metrics: Metrics
) -> None:
    # An index of another mapping stands in for content that a server refuses.
    ensure_template(client)
    client.indices.create(index=NOVEMBER_INDEX, mappings={"properties": {"customer_id": {"type": "date"}}})
    (refused,) = store.add(1, tenant_id=3, customer_id="no date")
    written = store.add(2, customer_id="2020-01-01")

    assert stage.step(0) == 3

    assert set(indexed(client)) == set(written)
    assert store.pending() == []
    ((signal, tenant_id, status, reason),) = failures(store)
    assert (signal, tenant_id, status) == (refused, 3, 400)
    assert "customer_id" in reason
    assert metrics.registry.get_sample_value("sspp_index_failures_total") == 1

    client.indices.delete(index=NOVEMBER_INDEX)
    drain(stage)
    assert failures(store) == []
