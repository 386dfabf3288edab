"""An index whose server forgot what it had acknowledged: found out, and written again without a command."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from indexing import (
    NOVEMBER,
    NOVEMBER_INDEX,
    OCTOBER,
    MakeStage,
    SignalStore,
    drain,
    indexed,
    resends,
    with_bulk_answers,
    with_requests,
)
from search_server import SearchServer
from structlog.testing import capture_logs

from common.metrics import Metrics
from infrastructure.local.folder import DataFolder


@pytest.fixture
def server(data_folder_path: Path, until: Callable[..., Any]) -> Iterator[SearchServer]:
    folder = DataFolder(data_folder_path)
    folder.hold()
    server = SearchServer(folder, until)
    try:
        yield server
    finally:
        server.stop()
        folder.release()


@pytest.fixture
def elasticsearch_url(server: SearchServer) -> str:
    return server.url


@pytest.fixture
def settled(
    server: SearchServer,
    make_stage: MakeStage,
    store: SignalStore,
) -> set[str]:
    """The ids of documents that the server has on disk for good, written long before the checkpoint and after it."""
    for _ in range(3):
        store.add(2)
        drain(make_stage())
        store.let_time_pass("10 minutes")
    server.keep()
    drain(make_stage())
    return set(store.ids)


def losses(lines: list[Any]) -> list[tuple[bool, bool, bool]]:
    """Of each loss that was found: whether the mark was there, the server restarted, the whole month is sent."""
    return [
        (line["mark_is_there"], line["server_restarted"], line["whole_month"])
        for line in lines
        if line["event"] == "index_lost_writes"
    ]


def test_documents_lost_by_a_killed_server_come_back_by_themselves(
    client: Elasticsearch, server: SearchServer, settled: set[str], make_stage: MakeStage, store: SignalStore
) -> None:
    kept = settled
    for _ in range(5):
        store.add(500)
        drain(make_stage())
        server.kill()
        server.start()
        if indexed(client).keys() == kept:
            break
        kept = set(store.ids)  # on a busy machine the kill may come when all is on disk
        drain(make_stage())
    else:
        pytest.fail("the server forgot nothing: this test proves nothing")
    with capture_logs() as lines:
        handled = drain(make_stage())  # as the watchdog would have it, of an idle platform

    assert indexed(client).keys() == store.ids
    assert losses(lines) == [(False, True, False)]
    assert handled <= 2 * len(store.ids) + 1, "more was sent than the last minutes"
    assert drain(make_stage()) == 0


def test_stages_side_by_side_act_upon_a_loss_once(
    client: Elasticsearch,
    server: SearchServer,
    settled: set[str],
    make_stage: MakeStage,
    store: SignalStore,
    metrics: Metrics,
) -> None:
    for _ in range(20):
        store.add(20)
    drain(make_stage())
    before = resends(metrics)
    server.forget()
    for _ in range(20):
        store.add(20)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(drain, [make_stage(batch_events=40), make_stage(batch_events=40)]))
    drain(make_stage())

    assert indexed(client).keys() == store.ids
    assert resends(metrics) == before + 1


def test_a_server_that_restarted_gets_the_last_minutes_again(
    client: Elasticsearch, server: SearchServer, settled: set[str], make_stage: MakeStage, store: SignalStore
) -> None:
    store.add(5)
    drain(make_stage())
    store.let_time_pass("10 minutes")
    server.stop()
    server.start()

    with capture_logs() as lines:
        drain(make_stage())

    assert losses(lines) == [(True, True, False)]
    assert indexed(client).keys() == store.ids


def test_what_a_restarted_server_still_has_is_not_written_again(
    client: Elasticsearch, server: SearchServer, make_stage: MakeStage, store: SignalStore, metrics: Metrics
) -> None:
    def numbers() -> dict[str, int]:
        return {
            each["_id"]: each["_seq_no"]
            for each in client.mget(index=NOVEMBER_INDEX, ids=sorted(ids))["docs"]
        }

    ids = store.add(50)
    drain(make_stage())
    written = numbers()
    server.stop()
    server.start()

    drain(make_stage())

    assert resends(metrics) == 1
    assert numbers() == written


def test_a_loss_is_found_by_its_numbers_where_restarts_cannot_be_seen(
    client: Elasticsearch, server: SearchServer, settled: set[str], make_stage: MakeStage, store: SignalStore
) -> None:
    def without_nodes(request: str, send: Callable[[], Any]) -> Any:
        answer = send()
        return answer._replace(meta=replace(answer.meta, status=403)) if "/_nodes" in request else answer

    with with_requests(server.url, without_nodes) as blind:
        store.add(50)
        drain(make_stage(blind))
        server.forget()

        with capture_logs() as lines:
            drain(make_stage(blind))

    assert indexed(client).keys() == store.ids
    assert losses(lines) == [(False, False, False)]


@pytest.mark.parametrize("noticed", [False, True])
def test_a_loss_between_writing_and_marking_is_made_good(
    client: Elasticsearch,
    server: SearchServer,
    settled: set[str],
    make_stage: MakeStage,
    store: SignalStore,
    noticed: bool,
) -> None:
    """Whether or not another stage notices it before this one marks what it wrote."""

    def forget_what_was_written(answer: dict[str, Any]) -> dict[str, Any]:
        server.forget()
        if noticed:
            drain(make_stage())
        return answer

    store.add(5)
    with with_bulk_answers(server.url, forget_what_was_written) as unlucky:
        make_stage(unlucky).step(0)
    assert indexed(client).keys() == settled
    assert bool(store.pending()) == noticed, "what another stage saw lost must not be marked"

    drain(make_stage())

    assert indexed(client).keys() == store.ids


def test_a_stage_that_dies_between_writing_and_marking_loses_nothing(
    client: Elasticsearch, server: SearchServer, settled: set[str], make_stage: MakeStage, store: SignalStore
) -> None:
    def die(_: dict[str, Any]) -> dict[str, Any]:
        raise KeyboardInterrupt

    store.add(5)
    with with_bulk_answers(server.url, die) as dying, pytest.raises(KeyboardInterrupt):
        make_stage(dying).step(0)
    server.forget()
    assert len(store.pending()) == 1

    drain(make_stage())

    assert indexed(client).keys() == store.ids


def test_a_server_that_lost_everything_gets_every_month_again(
    client: Elasticsearch, server: SearchServer, settled: set[str], make_stage: MakeStage, store: SignalStore
) -> None:
    for received_at in (NOVEMBER, OCTOBER) * 3:
        store.add(30, received_at=received_at)
    drain(make_stage())
    store.execute("DELETE FROM outbox")
    server.lose_everything()

    with capture_logs() as lines:
        drain(make_stage(batch_events=40))

    assert indexed(client).keys() == store.ids
    assert losses(lines) == [(False, True, True)] * 2
    assert drain(make_stage()) == 0


def test_a_snapshot_from_before_the_last_minutes_is_completed(
    client: Elasticsearch, server: SearchServer, settled: set[str], make_stage: MakeStage, store: SignalStore
) -> None:
    for _ in range(3):
        store.add(5)
        drain(make_stage())
        store.let_time_pass("10 minutes")
    server.forget()
    assert indexed(client).keys() == settled

    with capture_logs() as lines:
        drain(make_stage())

    assert indexed(client).keys() == store.ids
    assert losses(lines) == [(False, True, True)]
