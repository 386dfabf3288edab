"""An index whose server forgot what it had acknowledged: found out, and written again without a command."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from elastic_transport import Urllib3HttpNode
from elasticsearch import Elasticsearch
from psycopg_pool import ConnectionPool
from structlog.testing import capture_logs

from common.envelope import event_key, signal_id
from common.errors import SearchUnavailableError
from common.metrics import Metrics
from common.search.client import open_client
from common.search.indices import refresh
from common.settings import Settings
from infrastructure.local.folder import DataFolder
from infrastructure.local.process import Process
from infrastructure.local.search import Search
from worker.index import IndexStage
from worker.maintenance import delete_indexed_outbox

INDEX = "signals-2026-11"
RECEIVED = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)


class Server:
    """A search server of this test's own, to be killed."""

    def __init__(self, folder: DataFolder, until: Callable[..., Any]) -> None:
        self._search = Search(folder)
        self._home = folder.path / "search"
        self._kept = folder.path / "kept"
        self._process = Process(self._search.prepare(), folder)
        self._until = until
        self.url = self._search.url
        self.start()

    def start(self) -> None:
        self._search.prepare()
        self._process.start()
        self._until(self._process.command.is_ready, timeout=30)

    def stop(self) -> None:
        self._process.ask_to_stop()
        self._process.end(20)

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._until(lambda: self._process.exit_status() is not None)

    def keep(self) -> None:
        """Restart, and remember what is on disk by now."""
        self.stop()
        shutil.rmtree(self._kept, ignore_errors=True)
        shutil.copytree(self._home, self._kept)
        self.start()

    def forget(self) -> None:
        """Kill it; once it is up again it knows what was kept, and nothing that was written since."""
        self.kill()
        shutil.rmtree(self._home)
        shutil.copytree(self._kept, self._home)
        self.start()

    def lose_everything(self) -> None:
        """Kill it; once it is up again it knows nothing."""
        self.kill()
        shutil.rmtree(self._home)
        self.start()


@pytest.fixture
def server(data_folder_path: Path, until: Callable[..., Any]) -> Iterator[Server]:
    folder = DataFolder(data_folder_path)
    folder.hold()
    server = Server(folder, until)
    try:
        yield server
    finally:
        server.stop()
        folder.release()


@pytest.fixture
def client(server: Server) -> Iterator[Elasticsearch]:
    with open_client(server.url) as client:
        yield client


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def make_stage(pool: ConnectionPool, client: Elasticsearch, metrics: Metrics) -> Callable[..., IndexStage]:
    def make(client: Elasticsearch = client, **changes: Any) -> IndexStage:
        urls = dict.fromkeys(["database_url", "redis_url", "elasticsearch_url"], "unused:")
        settings = Settings.model_validate(urls | changes)
        return IndexStage(pool, client, metrics, settings, lambda: RECEIVED)

    return make


@pytest.fixture
def store(pool: ConnectionPool) -> Callable[..., set[str]]:
    """Stores a batch of signals with its outbox row, as the ingest stage does; returns their ids."""
    batches = iter(range(1, 10_000))

    def store(count: int, *, received_at: datetime = RECEIVED) -> set[str]:
        batch = next(batches)
        ids = [signal_id(event_key(1, f"{batch}-{n}"), 0) for n in range(count)]
        with pool.connection() as connection:
            connection.cursor().executemany(
                "INSERT INTO signals VALUES (%s, %s, 1, %s, 'inquiry', 'c', 'intent', 0.5, %s, NULL, NULL, NULL, '{}')",
                [(each, received_at, f"{batch}-{n}", RECEIVED) for n, each in enumerate(ids)],
            )
            connection.execute(
                "INSERT INTO event_keys SELECT event_key_of(signal_id), tenant_id, received_at FROM signals"
                " WHERE signal_id = ANY (%s)",
                (ids,),
            )
            connection.execute(
                "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until)"
                " VALUES (nextval('batch_ids'), 1, %s, %s, %s)",
                (ids, received_at, received_at),
            )
        return {str(each) for each in ids}

    return store


def drain(stage: IndexStage) -> int:
    """Run a stage as a drain of its own would, until nothing is left; returns how much it handled."""
    handled = 0
    while count := stage.step(0):
        handled += count
    return handled


def indexed(client: Elasticsearch, index: str = "signals") -> set[str]:
    refresh(client)
    hits = client.search(index=index, size=10_000, source=False, ignore_unavailable=True)["hits"]["hits"]
    return {hit["_id"] for hit in hits}


def resends(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("sspp_index_resends_total") or 0.0


@pytest.fixture
def settled(
    pool: ConnectionPool,
    server: Server,
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
) -> set[str]:
    """The ids of documents that the server has on disk for good, written long before the checkpoint and after it."""
    ids: set[str] = set()
    for _ in range(3):
        ids |= store(2)
        drain(make_stage())
        let_time_pass(pool, "10 minutes")
    server.keep()
    drain(make_stage())
    return ids


def let_time_pass(pool: ConnectionPool, interval: str) -> None:
    with pool.connection() as connection:
        connection.execute(
            "UPDATE index_marks SET checkpoint_at = checkpoint_at - %(by)s::interval,"
            " next_checkpoint_at = next_checkpoint_at - %(by)s::interval",
            {"by": interval},
        )
        connection.execute("UPDATE outbox SET indexed_at = indexed_at - %(by)s::interval", {"by": interval})


def pending(pool: ConnectionPool) -> int:
    with pool.connection() as connection:
        row = connection.execute("SELECT count(*) FROM outbox WHERE indexed_at IS NULL").fetchone()
    assert row is not None
    return int(row[0])


def losses(lines: list[Any]) -> list[tuple[bool, bool, bool]]:
    """Of each loss that was found: whether the mark was there, the server restarted, the whole month is sent."""
    return [
        (line["mark_is_there"], line["server_restarted"], line["whole_month"])
        for line in lines
        if line["event"] == "index_lost_writes"
    ]


def with_requests(url: str, around: Callable[[str, Callable[[], Any]], Any]) -> Elasticsearch:
    """A client whose requests are made by `around`, which is given the path and what sends the request."""

    class Between(Urllib3HttpNode):
        def perform_request(self, method: str, target: str, *args: Any, **options: Any) -> Any:
            return around(
                target, lambda: super(Between, self).perform_request(method, target, *args, **options)
            )

    return Elasticsearch(url, node_class=Between, max_retries=0)


def test_documents_lost_by_a_killed_server_come_back_by_themselves(
    client: Elasticsearch,
    server: Server,
    settled: set[str],
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
) -> None:
    kept = set(settled)
    for _ in range(5):
        lost = store(500)
        drain(make_stage())
        server.kill()
        server.start()
        if indexed(client) == kept:
            break
        kept |= lost  # on a busy machine the kill may come when all is on disk
        drain(make_stage())
    else:
        pytest.fail("the server forgot nothing: this test proves nothing")
    with capture_logs() as lines:
        handled = drain(make_stage())  # as the watchdog would have it, of an idle platform

    assert indexed(client) == kept | lost
    assert losses(lines) == [(False, True, False)]
    assert handled <= 2 * len(kept | lost) + 1, "more was sent than the last minutes"
    assert drain(make_stage()) == 0


def test_stages_side_by_side_act_upon_a_loss_once(
    client: Elasticsearch,
    server: Server,
    settled: set[str],
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
    metrics: Metrics,
) -> None:
    ids = settled.union(*(store(20) for _ in range(20)))
    drain(make_stage())
    before = resends(metrics)
    server.forget()
    ids = ids.union(*(store(20) for _ in range(20)))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(drain, [make_stage(batch_events=40), make_stage(batch_events=40)]))
    drain(make_stage())

    assert indexed(client) == ids
    assert resends(metrics) == before + 1


def test_nothing_is_sent_again_while_nothing_is_lost(
    pool: ConnectionPool,
    client: Elasticsearch,
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
    metrics: Metrics,
) -> None:
    ids: set[str] = set()
    for received_at in (RECEIVED, OCTOBER):
        ids = ids.union(*(store(20, received_at=received_at) for _ in range(15)))
    (newer,) = store(1)
    make_stage().step(0)
    # A version that is newer than ours answers 409, which carries no number; others write to the index as well.
    client.index(index=INDEX, id=newer, document={"tenant_id": 1}, version=99, version_type="external")
    client.index(index=INDEX, id="another", document={"tenant_id": 1})
    client.delete(index=INDEX, id="another")
    with pool.connection() as connection:
        connection.execute("UPDATE outbox SET indexed_at = NULL")

    with ThreadPoolExecutor(2) as threads:
        handled = list(threads.map(drain, [make_stage(batch_events=30), make_stage(batch_events=30)]))
    assert sum(handled) == len(ids) + 1
    for _ in range(3):
        assert drain(make_stage()) == 0

    assert indexed(client) == ids | {newer}
    assert resends(metrics) == 0


def test_a_server_that_restarted_gets_the_last_minutes_again(
    pool: ConnectionPool,
    client: Elasticsearch,
    server: Server,
    settled: set[str],
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
) -> None:
    ids = store(5)
    drain(make_stage())
    let_time_pass(pool, "10 minutes")
    server.stop()
    server.start()

    with capture_logs() as lines:
        drain(make_stage())

    assert losses(lines) == [(True, True, False)]
    assert indexed(client) == settled | ids


def test_what_a_restarted_server_still_has_is_not_written_again(
    client: Elasticsearch,
    server: Server,
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
    metrics: Metrics,
) -> None:
    def numbers() -> dict[str, int]:
        return {each["_id"]: each["_seq_no"] for each in client.mget(index=INDEX, ids=sorted(ids))["docs"]}

    ids = store(50)
    drain(make_stage())
    written = numbers()
    server.stop()
    server.start()

    drain(make_stage())

    assert resends(metrics) == 1
    assert numbers() == written


def test_a_loss_is_found_by_its_numbers_where_restarts_cannot_be_seen(
    client: Elasticsearch,
    server: Server,
    settled: set[str],
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
) -> None:
    def without_nodes(path: str, send: Callable[[], Any]) -> Any:
        answer = send()
        return answer._replace(meta=replace(answer.meta, status=403)) if "/_nodes" in path else answer

    with with_requests(server.url, without_nodes) as blind:
        lost = store(50)
        drain(make_stage(blind))
        server.forget()

        with capture_logs() as lines:
            drain(make_stage(blind))

    assert indexed(client) == settled | lost
    assert losses(lines) == [(False, False, False)]


@pytest.mark.parametrize("noticed", [False, True])
def test_a_loss_between_writing_and_marking_is_made_good(
    pool: ConnectionPool,
    client: Elasticsearch,
    server: Server,
    settled: set[str],
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
    noticed: bool,
) -> None:
    """Whether or not another stage notices it before this one marks what it wrote."""

    def restart_after_bulk(path: str, send: Callable[[], Any]) -> Any:
        answer = send()
        if path.startswith("/_bulk"):
            server.forget()
            if noticed:
                drain(make_stage())
        return answer

    lost = store(5)
    with with_requests(server.url, restart_after_bulk) as unlucky:
        make_stage(unlucky).step(0)
    assert indexed(client) == settled
    assert pending(pool) == noticed, "what another stage saw lost must not be marked"

    drain(make_stage())

    assert indexed(client) == settled | lost


def test_a_stage_that_dies_between_writing_and_marking_loses_nothing(
    pool: ConnectionPool,
    client: Elasticsearch,
    server: Server,
    settled: set[str],
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
) -> None:
    def die_after_bulk(path: str, send: Callable[[], Any]) -> Any:
        answer = send()
        if path.startswith("/_bulk"):
            raise KeyboardInterrupt
        return answer

    lost = store(5)
    with with_requests(server.url, die_after_bulk) as dying, pytest.raises(KeyboardInterrupt):
        make_stage(dying).step(0)
    server.forget()
    assert pending(pool) == 1

    drain(make_stage())

    assert indexed(client) == settled | lost


def test_a_server_that_lost_everything_gets_every_month_again(
    pool: ConnectionPool,
    client: Elasticsearch,
    server: Server,
    settled: set[str],
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
) -> None:
    ids = settled.union(*(store(30, received_at=each) for each in (RECEIVED, OCTOBER) for _ in range(3)))
    drain(make_stage())
    with pool.connection() as connection:
        connection.execute("DELETE FROM outbox")
    server.lose_everything()

    with capture_logs() as lines:
        drain(make_stage(batch_events=40))

    assert indexed(client) == ids
    assert losses(lines) == [(False, True, True)] * 2
    assert drain(make_stage()) == 0


def test_a_snapshot_from_before_the_last_minutes_is_completed(
    pool: ConnectionPool,
    client: Elasticsearch,
    server: Server,
    settled: set[str],
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
) -> None:
    ids = set(settled)
    for _ in range(3):
        ids |= store(5)
        drain(make_stage())
        let_time_pass(pool, "10 minutes")
    server.forget()
    assert indexed(client) == settled

    with capture_logs() as lines:
        drain(make_stage())

    assert indexed(client) == ids
    assert losses(lines) == [(False, True, True)]


def test_a_month_that_retention_dropped_is_forgotten(
    pool: ConnectionPool,
    client: Elasticsearch,
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
) -> None:
    store(2, received_at=OCTOBER)
    drain(make_stage())
    with pool.connection() as connection:
        connection.execute("DELETE FROM signals")
        connection.execute("DELETE FROM outbox")
    client.indices.delete(index="signals-2026-10")

    drain(make_stage())

    with pool.connection() as connection:
        assert connection.execute("SELECT FROM index_marks").fetchall() == []


def test_an_index_that_a_rebuilt_one_replaced_is_not_missed(
    pool: ConnectionPool,
    client: Elasticsearch,
    make_stage: Callable[..., IndexStage],
    store: Callable[..., set[str]],
    metrics: Metrics,
) -> None:
    store(2)
    drain(make_stage())
    with pool.connection() as connection:
        connection.execute("INSERT INTO search_indices (month, generation) VALUES ('2026-11-01', 2)")
    client.indices.delete(index=INDEX)

    drain(make_stage())

    assert resends(metrics) == 0
    assert not client.indices.exists(index=INDEX)


def test_upkeep_keeps_the_rows_that_a_loss_would_need(
    pool: ConnectionPool, make_stage: Callable[..., IndexStage], store: Callable[..., set[str]]
) -> None:
    for _ in range(3):
        store(1)
        drain(make_stage())
        let_time_pass(pool, "1 hour")

    with pool.connection() as connection:
        connection.autocommit = True
        deleted = delete_indexed_outbox(connection, datetime.now(UTC) - timedelta(minutes=15))

        assert deleted == 1
        (kept,) = connection.execute("SELECT count(*) FROM outbox").fetchone() or (0,)
    assert kept == 2


def test_an_idle_stage_does_not_mind_that_search_is_away(
    pool: ConnectionPool, make_stage: Callable[..., IndexStage], store: Callable[..., set[str]]
) -> None:
    store(1)
    drain(make_stage())

    with open_client("http://127.0.0.1:1") as nowhere:
        assert make_stage(nowhere).step(0) == 0
        store(1)
        with pytest.raises(SearchUnavailableError):
            make_stage(nowhere).step(0)

    assert pending(pool) == 1
