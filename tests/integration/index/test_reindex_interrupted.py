"""A rebuild that is killed, interrupted, continued, begun anew or given up."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from elasticsearch import Elasticsearch
from indexing import NOVEMBER, OCTOBER, AddIndexed, SignalStore, answers, drain, indices, month, with_requests
from rebuilding import Rebuilds

from common.database.partitions import drop_expired
from common.search.indices import drop_indices_before
from infrastructure.search.rebuilds import ReindexError, claim_run, plan_rebuilds
from worker.index.stage import IndexStage

LONG_AGO = datetime(2020, 3, 31, tzinfo=UTC)


class CrashError(Exception):
    """Stands for SIGKILL."""


class Fuse:
    """Blows at the n-th thing that is asked of PostgreSQL or the search server, before it is sent."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def burn(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise CrashError

    @contextmanager
    def servers(
        self, database_url: str, search_url: str
    ) -> Iterator[tuple[psycopg.Connection, Elasticsearch]]:
        fuse = self

        class Cursor(psycopg.Cursor[Any]):
            def execute(self, *args: Any, **kwargs: Any) -> Any:
                fuse.burn()
                return super().execute(*args, **kwargs)

        def burn_and_send(_: str, send: Callable[[], Any]) -> Any:
            fuse.burn()
            return send()

        with (
            psycopg.connect(database_url, autocommit=True, cursor_factory=Cursor) as connection,
            with_requests(search_url, burn_and_send) as client,
        ):
            yield connection, client


def test_it_may_be_killed_between_any_two_steps_and_continued(
    database_url: str,
    elasticsearch_url: str,
    store: SignalStore,
    add_indexed: AddIndexed,
    client: Elasticsearch,
    rebuilds: Rebuilds,
) -> None:
    add_indexed(3)
    kills = 0
    killed = True
    while killed:
        with Fuse(kills).servers(database_url, elasticsearch_url) as (connection, mortal):
            try:
                rebuilds.reindexer(connection=connection, client=mortal, page_signals=40).run(
                    plan_rebuilds(connection)
                )
                killed = False
            except CrashError:
                kills += 1

        add_indexed()
        assert answers(client) == Counter(store.ids), f"killed before call {kills}"

        rebuilds.run(page_signals=40)
        assert answers(client) == Counter(store.ids), f"continued after call {kills}"
        assert list(indices(client).values()) == [True], f"continued after call {kills}"
        assert rebuilds.unfinished() == []
    assert kills > 20


def test_an_interrupted_run_is_continued_where_it_stopped(
    store: SignalStore, stage: IndexStage, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    store.add(8, received_at=OCTOBER)
    for microseconds in range(6):
        store.add(2, received_at=NOVEMBER + timedelta(microseconds=microseconds))
    drain(stage)
    rebuilds.interrupt(12)
    assert indices(client) == {
        "signals-2026-10": False,
        "signals-2026-10-g2": True,
        "signals-2026-11": True,
        "signals-2026-11-g2": False,
    }
    (left,) = rebuilds.plan()
    assert (left.indices.building, left.copied, left.signals) == ("signals-2026-11-g2", 4, 12)

    assert rebuilds.run() == 8

    assert answers(client) == Counter(store.ids)
    assert indices(client) == {"signals-2026-10-g2": True, "signals-2026-11-g2": True}


def test_what_the_former_release_began_is_copied_from_its_beginning(
    add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    ids = add_indexed(12)
    rebuilds.interrupt(4)
    rebuilds.connection.execute(
        "UPDATE search_indices SET copied_through = 'ffffffff-ffff-ffff-ffff-ffffffffffff',"
        " copied_through_at = NULL, copied_through_id = NULL"
    )

    assert rebuilds.run() == 12

    assert answers(client) == Counter(ids)


def test_other_months_than_the_interrupted_one_may_be_rebuilt_meanwhile(
    add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    add_indexed(8, received_at=OCTOBER)
    add_indexed(8)
    rebuilds.interrupt(4, month(NOVEMBER))

    rebuilds.run(month(OCTOBER))

    assert rebuilds.unfinished() == [month(NOVEMBER)]
    rebuilds.run()
    assert indices(client) == {"signals-2026-10-g2": True, "signals-2026-11-g2": True}


@pytest.mark.parametrize("by", ["a newer template", "wish"])
def test_what_was_interrupted_may_begin_anew(
    by: str,
    store: SignalStore,
    add_indexed: AddIndexed,
    client: Elasticsearch,
    rebuilds: Rebuilds,
    raised_template: Callable[[], None],
) -> None:
    add_indexed(4, received_at=OCTOBER)
    add_indexed(8)
    rebuilds.interrupt(8)
    add_indexed(1)
    if by == "a newer template":
        raised_template()

    copied = rebuilds.reindexer().run(rebuilds.plan(restart=by == "wish"))

    assert copied == 13
    assert answers(client) == Counter(store.ids)
    assert indices(client) == {"signals-2026-10-g3": True, "signals-2026-11-g3": True}


def test_what_was_interrupted_may_be_given_up(
    store: SignalStore, add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    add_indexed(8)
    rebuilds.interrupt(4)

    assert rebuilds.reindexer().abandon() == [month(NOVEMBER)]
    assert rebuilds.reindexer().abandon() == []

    add_indexed()
    assert indices(client) == {"signals-2026-11": True}
    assert answers(client) == Counter(store.ids)


def test_only_one_rebuilds_at_a_time(database_url: str, connection: psycopg.Connection) -> None:
    claim_run(connection)

    with (
        psycopg.connect(database_url, autocommit=True) as other,
        pytest.raises(ReindexError, match="another sspp reindex is running"),
    ):
        claim_run(other)


def test_a_month_that_expires_meanwhile_is_passed_over(
    add_indexed: AddIndexed, client: Elasticsearch, rebuilds: Rebuilds
) -> None:
    add_indexed(5, received_at=LONG_AGO)
    kept = add_indexed(5)
    rebuilds.interrupt(4)
    plan = rebuilds.plan()
    drop_expired(rebuilds.connection, now=NOVEMBER, retention_months=1)

    assert rebuilds.reindexer().run(plan) == 5

    assert rebuilds.unfinished() == []
    assert indices(client) == {"signals-2020-03": True, "signals-2026-11-g2": True}
    drop_indices_before(client, NOVEMBER)
    assert answers(client) == Counter(kept)
