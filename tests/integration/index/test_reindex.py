"""The rebuild of the search index beside a working index stage, on real PostgreSQL and search."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from indexing import NOVEMBER, OCTOBER, AddIndexed, SignalStore, answers, drain, indices, month, sources
from patience import PATIENCE_SECONDS
from psycopg_pool import ConnectionPool
from rebuilding import Rebuilds

from common.search import template
from common.search.generations import MonthIndices, read_generations, share_generations
from common.search.template import ALIAS
from infrastructure.search import copying
from infrastructure.search.rebuilds import ReindexError, describe_rebuild
from worker.index.stage import IndexStage

STRAY = datetime(2020, 3, 31, 23, 59, 59, tzinfo=UTC)  # no partition is made for it: it lies in DEFAULT


def test_all_months_get_new_indices_that_answer_as_the_former_ones_did(
    store: SignalStore, stage: IndexStage, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    for received_at, count in ((STRAY, 3), (OCTOBER, 4), (NOVEMBER, 9)):
        store.add(count, received_at=received_at)
    drain(stage)
    client.indices.refresh(index=ALIAS)
    before = sources(client)

    assert rebuilds.run() == 16

    assert sources(client) == before
    assert answers(client) == Counter(store.ids)
    assert indices(client) == {
        "signals-2020-03-g2": True,
        "signals-2026-10-g2": True,
        "signals-2026-11-g2": True,
    }


def test_what_is_stored_later_goes_to_the_new_index_alone(
    store: SignalStore, add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    store.add()
    rebuilds.run()

    add_indexed()

    assert answers(client) == Counter(store.ids)
    assert indices(client) == {"signals-2026-11-g2": True}


def test_one_month_may_be_rebuilt_alone_and_again(
    store: SignalStore, add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    add_indexed(2, received_at=OCTOBER)
    add_indexed(2)

    for _ in range(2):
        assert rebuilds.run(month(OCTOBER)) == 2

    assert indices(client) == {"signals-2026-10-g3": True, "signals-2026-11": True}
    assert answers(client) == Counter(store.ids)


def test_an_index_that_was_lost_is_made_anew(
    store: SignalStore, add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    add_indexed(5, received_at=OCTOBER)
    add_indexed(5)
    for name in indices(client):
        client.indices.delete(index=name)
    client.indices.delete_index_template(name=template.TEMPLATE)

    rebuilds.run()

    assert answers(client) == Counter(store.ids)
    mapping = client.indices.get_mapping(index="signals-2026-11-g2")["signals-2026-11-g2"]["mappings"]
    assert mapping["dynamic"] == "strict"


def test_a_change_of_the_mapping_reaches_the_new_index(
    add_indexed: AddIndexed,
    client: Elasticsearch,
    rebuilds: Rebuilds,
    raised_template: Callable[[], None],
) -> None:
    add_indexed(2)
    raised_template()
    (planned,) = rebuilds.plan()
    described = describe_rebuild(client, planned)
    assert described["template"] != described["newest_template"]

    rebuilds.run()

    assert client.indices.get_mapping(index=ALIAS)["signals-2026-11-g2"]["mappings"]["properties"][
        "text"
    ] == {"type": "keyword"}
    (planned,) = rebuilds.plan()
    described = describe_rebuild(client, planned)
    assert described["template"] == described["newest_template"]
    assert described["documents"] == described["signals"] == 2


def test_while_events_keep_flowing_nothing_is_missing_and_nothing_is_found_twice(
    store: SignalStore, stage: IndexStage, add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    settled = frozenset(add_indexed(20, received_at=OCTOBER) + add_indexed(20))
    assert answers(client) == Counter(settled)
    done = threading.Event()

    def flow() -> None:
        while not done.is_set():
            store.add(2)
            store.add(received_at=OCTOBER)
            stage.step(0)

    def look() -> list[Counter[str]]:
        looks = []
        while not done.is_set():
            found = client.search(index=ALIAS, size=1000, source=False)["hits"]["hits"]
            looks.append(Counter(hit["_id"] for hit in found))
        return looks

    with ThreadPoolExecutor(2) as threads:
        flowing, looking = threads.submit(flow), threads.submit(look)
        try:
            for _ in range(3):
                rebuilds.run(page_signals=7)
        finally:
            done.set()
        flowing.result()
        looks = looking.result()
    drain(stage)

    assert len(store.ids) > len(settled)
    assert answers(client) == Counter(store.ids)
    assert indices(client) == {"signals-2026-10-g4": True, "signals-2026-11-g4": True}
    for found in looks:
        assert max(found.values()) == 1
        assert settled <= found.keys()


def test_a_month_without_signals_is_a_mistake(store: SignalStore, rebuilds: Rebuilds) -> None:
    store.add(received_at=OCTOBER)

    with pytest.raises(ReindexError, match="no signals were received in 2062-11"):
        rebuilds.plan(date(2026, 10, 1), date(2062, 11, 1))


def test_a_batch_counts_as_indexed_only_when_the_new_index_has_it_too(
    store: SignalStore, stage: IndexStage, add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    add_indexed(4)
    rebuilds.interrupt(4)
    client.indices.put_settings(index="signals-2026-11-g2", settings={"index.blocks.write": True})

    (late,) = store.add()
    drain(stage)

    assert late in answers(client)
    assert len(store.pending()) == 1

    client.indices.put_settings(index="signals-2026-11-g2", settings={"index.blocks.write": None})
    store.execute("UPDATE outbox SET put_off_until = now() WHERE indexed_at IS NULL")
    drain(stage)
    rebuilds.run()
    assert store.pending() == []
    assert answers(client) == Counter(store.ids)


def test_the_alias_moves_only_when_nobody_writes_to_the_former_index_any_more(
    store: SignalStore,
    add_indexed: AddIndexed,
    client: Elasticsearch,
    pool: ConnectionPool,
    rebuilds: Rebuilds,
    until: Callable[..., Any],
) -> None:
    add_indexed(4)
    with ThreadPoolExecutor(1) as threads, pool.connection() as writer:
        with writer.transaction():
            assert share_generations(writer).of(NOVEMBER) == MonthIndices(month(NOVEMBER))
            running = threads.submit(rebuilds.run)
            until(
                lambda: store.value(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                )
            )
            assert read_generations(store.connection).rebuilding() == []
            assert indices(client) == {"signals-2026-11": True}
        running.result(timeout=PATIENCE_SECONDS)

    assert indices(client) == {"signals-2026-11-g2": True}


def test_the_rate_is_not_exceeded(
    add_indexed: AddIndexed, rebuilds: Rebuilds, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_indexed(9)
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: 0.0)
    monkeypatch.setattr(copying, "time", clock)

    rebuilds.run(rate=2)

    # Three pages of four, four and one document, on a clock that stands still.
    assert slept == [2.0, 4.0, 4.5]
