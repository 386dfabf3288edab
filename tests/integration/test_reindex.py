"""The rebuild of the search index beside a working index stage, on real PostgreSQL and search."""

import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from elastic_transport import Urllib3HttpNode
from elasticsearch import Elasticsearch
from psycopg_pool import ConnectionPool
from rich.console import Console

from common.database.partitions import drop_expired, ensure_partitions
from common.database.queries import Queries
from common.envelope import event_key, signal_id
from common.metrics import Metrics
from common.search import template
from common.search.bulk import write_documents
from common.search.client import open_client
from common.search.documents import Document
from common.search.generations import MonthIndices, read_generations, share_generations
from common.search.indices import drop_indices_before
from common.search.template import ALIAS
from common.settings import Settings
from infrastructure.search import copying, rebuilds
from infrastructure.search import reindex as reindex_module
from infrastructure.search.rebuilds import ReindexError, claim_run, describe_rebuild, plan_rebuilds
from infrastructure.search.reindex import Reindexer
from infrastructure.search.reindex_progress import LineProgress
from worker.index import IndexStage

STRAY = datetime(2020, 3, 31, 23, 59, 59, tzinfo=UTC)  # no partition is made for it: it lies in DEFAULT
OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)


class Store:
    """Stores signals with their outbox rows, as the ingest stage does, and knows all of their ids."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.ids: set[str] = set()
        self._batch = 0

    def add(self, received_at: datetime, count: int = 1, *, customer_id: str = "c-1") -> list[str]:
        self._batch += 1
        ids = [signal_id(event_key(1, f"{self._batch}-{n}"), 0) for n in range(count)]
        with self.connection.transaction():
            self.connection.cursor().executemany(
                "INSERT INTO signals"
                " VALUES (%s, %s, 1, 'e', 'purchase', %s, 'revenue', 0.9, %s, NULL, NULL, NULL, '{}')",
                [(each, received_at, customer_id, received_at) for each in ids],
            )
            self.connection.execute(
                "INSERT INTO event_keys SELECT event_key_of(signal_id), tenant_id, received_at FROM signals"
                " WHERE signal_id = ANY (%s)",
                (ids,),
            )
            self.connection.execute(
                "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until)"
                " VALUES (%s, 1, %s, %s, %s)",
                (self._batch, ids, received_at, received_at),
            )
        added = [str(each) for each in ids]
        self.ids.update(added)
        return added

    def scalar(self, statement: str) -> Any:
        row = self.connection.execute(statement).fetchone()
        return row and row[0]


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield Store(connection)


@pytest.fixture
def client(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with open_client(elasticsearch_url) as client:
        yield client


@pytest.fixture
def stage(pool: ConnectionPool, client: Elasticsearch, environment: dict[str, str]) -> IndexStage:
    settings = Settings.model_validate(environment)
    return IndexStage(pool, client, Metrics(), settings, lambda: NOVEMBER)


@pytest.fixture
def lines() -> io.StringIO:
    """What the rebuild says."""
    return io.StringIO()


@pytest.fixture
def make_reindexer(
    connection: psycopg.Connection, client: Elasticsearch, lines: io.StringIO
) -> Callable[..., Reindexer]:
    def make(**options: Any) -> Reindexer:
        progress = LineProgress(Console(file=lines, width=200), quiet=False)
        return Reindexer(
            options.pop("connection", connection),
            options.pop("client", client),
            progress,
            **{"page_signals": 4, "grace_seconds": 0.0, **options},
        )

    return make


@pytest.fixture
def reindex(connection: psycopg.Connection, make_reindexer: Callable[..., Reindexer]) -> Callable[..., int]:
    """Rebuild what there is to rebuild; returns how many documents were copied."""

    def run(*months: date, **options: Any) -> int:
        return make_reindexer(**options).run(plan_rebuilds(connection, months))

    return run


def drain(stage: IndexStage) -> None:
    while stage.step(0):
        pass


def hits(client: Elasticsearch) -> Counter[str]:
    """How often search answers each signal."""
    client.indices.refresh(index=ALIAS)
    found = client.search(index=ALIAS, query={"match_all": {}}, size=1000, source=False)["hits"]["hits"]
    return Counter(hit["_id"] for hit in found)


def sources(client: Elasticsearch) -> dict[str, Any]:
    found = client.search(index=ALIAS, query={"match_all": {}}, size=1000)["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in found}


def indices(client: Elasticsearch) -> dict[str, bool]:
    """All indices of ours on the server, and whether each answers searches."""
    found = client.indices.get_alias(index=f"{ALIAS}-*", expand_wildcards="all")
    return {name: ALIAS in about["aliases"] for name, about in found.items()}


def month(instant: datetime) -> date:
    return instant.date().replace(day=1)


def test_all_months_get_new_indices_that_answer_as_the_former_ones_did(
    store: Store, stage: IndexStage, client: Elasticsearch, reindex: Callable[..., int]
) -> None:
    for received_at, count in ((STRAY, 3), (OCTOBER, 4), (NOVEMBER, 9)):
        store.add(received_at, count)
    drain(stage)
    client.indices.refresh(index=ALIAS)
    before = sources(client)

    assert reindex() == 16

    assert sources(client) == before
    assert hits(client) == Counter(store.ids)
    assert indices(client) == {
        "signals-2020-03-g2": True,
        "signals-2026-10-g2": True,
        "signals-2026-11-g2": True,
    }


def test_what_is_stored_later_goes_to_the_new_index_alone(
    store: Store, stage: IndexStage, client: Elasticsearch, reindex: Callable[..., int]
) -> None:
    store.add(NOVEMBER)
    reindex()

    store.add(NOVEMBER)
    drain(stage)

    assert hits(client) == Counter(store.ids)
    assert indices(client) == {"signals-2026-11-g2": True}


def test_one_month_may_be_rebuilt_alone_and_again(
    store: Store, stage: IndexStage, client: Elasticsearch, reindex: Callable[..., int]
) -> None:
    store.add(OCTOBER, 2)
    store.add(NOVEMBER, 2)
    drain(stage)

    for _ in range(2):
        assert reindex(month(OCTOBER)) == 2

    assert indices(client) == {"signals-2026-10-g3": True, "signals-2026-11": True}
    assert hits(client) == Counter(store.ids)


def test_an_index_that_was_lost_is_made_anew(
    store: Store, stage: IndexStage, client: Elasticsearch, reindex: Callable[..., int]
) -> None:
    store.add(OCTOBER, 5)
    store.add(NOVEMBER, 5)
    drain(stage)
    for name in indices(client):
        client.indices.delete(index=name)
    client.indices.delete_index_template(name=template.TEMPLATE)

    reindex()

    assert hits(client) == Counter(store.ids)
    mapping = client.indices.get_mapping(index="signals-2026-11-g2")["signals-2026-11-g2"]["mappings"]
    assert mapping["dynamic"] == "strict"


def test_a_change_of_the_mapping_reaches_the_new_index(
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    connection: psycopg.Connection,
    reindex: Callable[..., int],
    raised_template: Callable[[], None],
) -> None:
    store.add(NOVEMBER, 2)
    drain(stage)
    raised_template()
    (planned,) = plan_rebuilds(connection)
    described = describe_rebuild(client, planned)
    assert described["template"] != described["newest_template"]

    reindex()

    assert client.indices.get_mapping(index=ALIAS)["signals-2026-11-g2"]["mappings"]["properties"][
        "text"
    ] == {"type": "keyword"}
    (planned,) = plan_rebuilds(connection)
    described = describe_rebuild(client, planned)
    assert described["template"] == described["newest_template"]
    assert described["documents"] == described["signals"] == 2


@pytest.fixture
def raised_template(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Release a newer template, which maps one field in another way."""

    def release() -> None:
        newer = template.TEMPLATE_VERSION + 1
        for module in (template, rebuilds, reindex_module):
            monkeypatch.setattr(module, "TEMPLATE_VERSION", newer)
        properties = {**template._MAPPINGS["properties"], "text": {"type": "keyword"}}
        monkeypatch.setitem(template._MAPPINGS, "properties", properties)

    return release


def test_while_events_keep_flowing_nothing_is_missing_and_nothing_is_found_twice(
    store: Store, stage: IndexStage, client: Elasticsearch, reindex: Callable[..., int]
) -> None:
    settled = frozenset(store.add(OCTOBER, 20) + store.add(NOVEMBER, 20))
    drain(stage)
    assert hits(client) == Counter(settled)
    done = threading.Event()

    def flow() -> None:
        while not done.is_set():
            store.add(NOVEMBER, 2)
            store.add(OCTOBER)
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
                reindex(page_signals=7)
        finally:
            done.set()
        flowing.result()
        looks = looking.result()
    drain(stage)

    assert len(store.ids) > len(settled)
    assert hits(client) == Counter(store.ids)
    assert indices(client) == {"signals-2026-10-g4": True, "signals-2026-11-g4": True}
    for found in looks:
        assert max(found.values()) == 1
        assert settled <= found.keys()


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

        class Node(Urllib3HttpNode):
            def perform_request(self, *args: Any, **kwargs: Any) -> Any:
                fuse.burn()
                return super().perform_request(*args, **kwargs)

        with (
            psycopg.connect(database_url, autocommit=True, cursor_factory=Cursor) as connection,
            Elasticsearch(search_url, node_class=Node, max_retries=0) as client,
        ):
            yield connection, client


def test_it_may_be_killed_between_any_two_steps_and_continued(
    database_url: str,
    elasticsearch_url: str,
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    make_reindexer: Callable[..., Reindexer],
    reindex: Callable[..., int],
) -> None:
    store.add(NOVEMBER, 3)
    drain(stage)
    kills = 0
    killed = True
    while killed:
        with Fuse(kills).servers(database_url, elasticsearch_url) as (connection, mortal):
            try:
                make_reindexer(connection=connection, client=mortal, page_signals=40).run(
                    plan_rebuilds(connection)
                )
                killed = False
            except CrashError:
                kills += 1

        store.add(NOVEMBER)
        drain(stage)
        assert hits(client) == Counter(store.ids), f"killed before call {kills}"

        reindex(page_signals=40)
        assert hits(client) == Counter(store.ids), f"continued after call {kills}"
        assert list(indices(client).values()) == [True], f"continued after call {kills}"
        assert read_generations(store.connection).rebuilding() == []
    assert kills > 20


class StopError(Exception):
    """Ends a rebuild."""


class StopAfter(LineProgress):
    """Ends the rebuild once so many documents are copied."""

    def __init__(self, documents: int) -> None:
        super().__init__(Console(file=io.StringIO()), quiet=True)
        self._left = documents

    def advance(self, documents: int) -> None:
        self._left -= documents
        if self._left <= 0:
            raise StopError


@pytest.fixture
def interrupt(connection: psycopg.Connection, client: Elasticsearch) -> Callable[..., None]:
    """Begin a rebuild and end it once so many documents are copied."""

    def begin(documents: int, *months: date) -> None:
        reindexer = Reindexer(connection, client, StopAfter(documents), page_signals=4, grace_seconds=0)
        with pytest.raises(StopError):
            reindexer.run(plan_rebuilds(connection, months))

    return begin


def test_an_interrupted_run_is_continued_where_it_stopped(
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    connection: psycopg.Connection,
    interrupt: Callable[..., None],
    reindex: Callable[..., int],
) -> None:
    store.add(OCTOBER, 8)
    store.add(NOVEMBER, 12)
    drain(stage)
    interrupt(12)
    assert indices(client) == {
        "signals-2026-10": False,
        "signals-2026-10-g2": True,
        "signals-2026-11": True,
        "signals-2026-11-g2": False,
    }
    (left,) = plan_rebuilds(connection)
    assert (left.indices.building, left.copied, left.signals) == ("signals-2026-11-g2", 4, 12)

    assert reindex() == 8

    assert hits(client) == Counter(store.ids)
    assert indices(client) == {"signals-2026-10-g2": True, "signals-2026-11-g2": True}


def test_other_months_than_the_interrupted_one_may_be_rebuilt_meanwhile(
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    connection: psycopg.Connection,
    interrupt: Callable[..., None],
    reindex: Callable[..., int],
) -> None:
    store.add(OCTOBER, 8)
    store.add(NOVEMBER, 8)
    drain(stage)
    interrupt(4, month(NOVEMBER))

    reindex(month(OCTOBER))

    assert [left.month for left in read_generations(connection).rebuilding()] == [month(NOVEMBER)]
    reindex()
    assert indices(client) == {"signals-2026-10-g2": True, "signals-2026-11-g2": True}


@pytest.mark.parametrize("by", ["a newer template", "wish"])
def test_what_was_interrupted_may_begin_anew(
    by: str,
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    connection: psycopg.Connection,
    interrupt: Callable[..., None],
    make_reindexer: Callable[..., Reindexer],
    raised_template: Callable[[], None],
) -> None:
    store.add(OCTOBER, 4)
    store.add(NOVEMBER, 8)
    drain(stage)
    interrupt(8)
    store.add(NOVEMBER, 1)
    drain(stage)
    if by == "a newer template":
        raised_template()

    copied = make_reindexer().run(plan_rebuilds(connection, restart=by == "wish"))

    assert copied == 13
    assert hits(client) == Counter(store.ids)
    assert indices(client) == {"signals-2026-10-g3": True, "signals-2026-11-g3": True}


def test_what_was_interrupted_may_be_given_up(
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    connection: psycopg.Connection,
    interrupt: Callable[..., None],
    make_reindexer: Callable[..., Reindexer],
) -> None:
    store.add(NOVEMBER, 8)
    drain(stage)
    interrupt(4)

    assert make_reindexer().abandon() == [month(NOVEMBER)]
    assert make_reindexer().abandon() == []

    store.add(NOVEMBER)
    drain(stage)
    assert indices(client) == {"signals-2026-11": True}
    assert hits(client) == Counter(store.ids)


def test_only_one_rebuilds_at_a_time(database_url: str, connection: psycopg.Connection) -> None:
    claim_run(connection)

    with (
        psycopg.connect(database_url, autocommit=True) as other,
        pytest.raises(ReindexError, match="another sspp reindex is running"),
    ):
        claim_run(other)


def test_a_month_without_signals_is_a_mistake(store: Store, connection: psycopg.Connection) -> None:
    store.add(OCTOBER)

    with pytest.raises(ReindexError, match="no signals were received in 2062-11"):
        plan_rebuilds(connection, [date(2026, 10, 1), date(2062, 11, 1)])


def test_a_batch_counts_as_indexed_only_when_the_new_index_has_it_too(
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    interrupt: Callable[..., None],
    reindex: Callable[..., int],
) -> None:
    store.add(NOVEMBER, 4)
    drain(stage)
    interrupt(4)
    client.indices.put_settings(index="signals-2026-11-g2", settings={"index.blocks.write": True})

    (late,) = store.add(NOVEMBER)
    drain(stage)

    assert late in hits(client)
    assert store.scalar("SELECT count(*) FROM outbox WHERE indexed_at IS NULL") == 1

    client.indices.put_settings(index="signals-2026-11-g2", settings={"index.blocks.write": None})
    store.connection.execute("UPDATE outbox SET put_off_until = now() WHERE indexed_at IS NULL")
    drain(stage)
    reindex()
    assert store.scalar("SELECT count(*) FROM outbox WHERE indexed_at IS NULL") == 0
    assert hits(client) == Counter(store.ids)


def test_the_alias_moves_only_when_nobody_writes_to_the_former_index_any_more(
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    pool: ConnectionPool,
    reindex: Callable[..., int],
    until: Callable[..., Any],
) -> None:
    store.add(NOVEMBER, 4)
    drain(stage)
    with ThreadPoolExecutor(1) as threads, pool.connection() as writer:
        with writer.transaction():
            assert share_generations(writer).of(NOVEMBER) == MonthIndices(month(NOVEMBER))
            running = threads.submit(reindex)
            until(
                lambda: store.scalar(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                )
            )
            assert read_generations(store.connection).rebuilding() == []
            assert indices(client) == {"signals-2026-11": True}
        running.result(timeout=30)

    assert indices(client) == {"signals-2026-11-g2": True}


def test_a_busy_server_gets_the_documents_that_it_did_not_take_again(
    elasticsearch_url: str,
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    lines: io.StringIO,
    reindex: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.add(NOVEMBER, 6)
    drain(stage)
    busy = [True]

    class Busy(Urllib3HttpNode):
        def perform_request(self, method: str, target: str, *args: Any, **options: Any) -> Any:
            answer = super().perform_request(method, target, *args, **options)
            if target.startswith("/_bulk") and busy and busy.pop():
                items = json.loads(answer.body)["items"]
                items[0] = {
                    "index": {"status": 429, "error": {"type": "rejected", "reason": "somebody's words"}}
                }
                answer = answer._replace(body=json.dumps({"items": items}).encode())
            return answer

    with Elasticsearch(elasticsearch_url, node_class=Busy, max_retries=0) as mortal:
        assert reindex(client=mortal) == 6

    assert hits(client) == Counter(store.ids)
    assert "Elasticsearch did not take 1 documents (429); next try in 1 s" in lines.getvalue()
    assert "words" not in lines.getvalue()


def test_documents_that_the_server_lost_meanwhile_are_copied_again(
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    lines: io.StringIO,
    interrupt: Callable[..., None],
    reindex: Callable[..., int],
) -> None:
    store.add(NOVEMBER, 12)
    drain(stage)
    interrupt(8)
    client.indices.delete(index="signals-2026-11-g2")

    assert reindex() == 4 + 12

    assert "4 documents got lost on the server" in lines.getvalue()
    assert hits(client) == Counter(store.ids)


def test_a_server_that_loses_whatever_it_gets_never_serves(
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    reindex: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.add(NOVEMBER, 8)
    drain(stage)

    def lose_one(server: Elasticsearch, documents: Sequence[Document], **options: bool) -> Any:
        outcome = write_documents(server, documents[1:], **options)
        outcome.ok.add(documents[0].id)
        return outcome

    monkeypatch.setattr(copying, "write_documents", lose_one)
    with pytest.raises(ReindexError, match="signals-2026-11-g2 still lacks 2 documents after 3 copies"):
        reindex()

    assert hits(client) == Counter(store.ids)
    assert indices(client) == {"signals-2026-11": True, "signals-2026-11-g2": False}


@pytest.mark.parametrize("stored_meanwhile", [0, 1])
def test_what_the_server_loses_once_the_new_index_serves_is_sent_again(
    stored_meanwhile: int,
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    interrupt: Callable[..., None],
    reindex: Callable[..., int],
) -> None:
    store.add(NOVEMBER, 8)
    drain(stage)
    interrupt(4)
    for _ in range(stored_meanwhile):
        store.add(NOVEMBER)
    drain(stage)
    reindex()
    store.connection.execute("DELETE FROM outbox")  # as upkeep does after some minutes

    client.indices.delete(index="signals-2026-11-g2")
    store.add(NOVEMBER)
    drain(stage)

    assert hits(client) == Counter(store.ids)
    assert indices(client) == {"signals-2026-11-g2": True}


def test_refused_documents_are_recorded_and_hold_up_nothing(
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    reindex: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (refused,) = store.add(NOVEMBER, customer_id="no date")
    (taken,) = store.add(NOVEMBER, customer_id="2020-01-01")
    drain(stage)
    properties = dict(template._MAPPINGS["properties"])
    monkeypatch.setitem(template._MAPPINGS, "properties", properties | {"customer_id": {"type": "date"}})
    client.indices.delete_index_template(name=template.TEMPLATE)

    reindex()

    assert hits(client) == Counter([taken])
    assert store.scalar("SELECT array_agg(signal_id) FROM index_failures") == [UUID(refused)]

    monkeypatch.setitem(template._MAPPINGS, "properties", properties)
    client.indices.delete_index_template(name=template.TEMPLATE)
    reindex()

    assert hits(client) == Counter(store.ids)
    assert store.scalar("SELECT count(*) FROM index_failures") == 0


def test_a_month_that_expires_meanwhile_is_passed_over(
    store: Store,
    stage: IndexStage,
    client: Elasticsearch,
    connection: psycopg.Connection,
    interrupt: Callable[..., None],
    make_reindexer: Callable[..., Reindexer],
) -> None:
    store.add(STRAY, 5)
    kept = store.add(NOVEMBER, 5)
    drain(stage)
    interrupt(4)
    plan = plan_rebuilds(connection)
    drop_expired(connection, now=NOVEMBER, retention_months=1)

    assert make_reindexer().run(plan) == 5

    assert read_generations(connection).rebuilding() == []
    assert indices(client) == {"signals-2020-03": True, "signals-2026-11-g2": True}
    drop_indices_before(client, NOVEMBER)
    assert hits(client) == Counter(kept)


def test_signals_are_read_in_the_order_of_their_keys_without_sorting_the_month(
    connection: psycopg.Connection,
) -> None:
    ensure_partitions(connection, now=NOVEMBER, ahead=1)
    connection.execute(
        "INSERT INTO event_keys SELECT event_key_of(md5(n::text)::uuid), 1, %s FROM generate_series(1, 20000) AS n",
        (NOVEMBER,),
    )
    connection.execute("VACUUM ANALYZE event_keys")
    # An empty table is cheapest to scan: forbid that, to see what the index can serve.
    connection.execute("SET enable_seqscan = off")
    query = Queries("infrastructure.search", "stored.sql").list_signals
    page = {"after": rebuilds.FIRST_ID, "limit": 500, **rebuilds.span_of(month(NOVEMBER))}

    plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {query}", page))

    assert "Index Scan using event_keys_pkey" in plan
    assert "Index Scan using signals_2026_11_pkey" in plan
    # Only the signals of one event are sorted, and the page.
    assert "Presorted Key: keys.event_key" in plan
    assert "Sort Key: signals_by_key.signal_id" in plan
    assert plan.count("Sort  (") == 2


def test_the_rate_is_not_exceeded(
    store: Store, stage: IndexStage, reindex: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(NOVEMBER, 9)
    drain(stage)
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: 0.0)
    monkeypatch.setattr(copying, "time", clock)

    reindex(rate=2)

    # Three pages of four, four and one document, on a clock that stands still.
    assert slept == [2.0, 4.0, 4.5]
