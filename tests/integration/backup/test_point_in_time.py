"""Recovery to any point in time, by PostgreSQL's own means and the commands of the how-to, tried as they stand."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from archiving_server import ArchivingServer
from ingest_pipeline import IngestPipeline
from people import event
from typer.testing import CliRunner

from common.database.connections import open_pool
from common.errors import TransientError
from common.redis import open_redis
from infrastructure.cli.main import app
from infrastructure.database.connections import connect
from infrastructure.database.migrate import migrate
from infrastructure.local.folder import DataFolder
from infrastructure.safekeeping.fingerprint import TableState, take_fingerprint

Until = Callable[..., object]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def server(data_folder_path: Path) -> Iterator[ArchivingServer]:
    folder = DataFolder(data_folder_path)
    folder.hold()
    server = ArchivingServer(folder)
    server.start()
    try:
        migrate(server.url)
        server.execute("INSERT INTO tenants (tenant_id, slug, name) VALUES (7, 'seven', 'Seven')")
        yield server
    finally:
        server.stop()
        folder.release()


@pytest.fixture
def pipeline(server: ArchivingServer, environment: dict[str, str]) -> Iterator[IngestPipeline]:
    with (
        closing(open_redis(environment["REDIS_URL"])) as redis,
        open_pool(server.url, application="test") as pool,
    ):
        yield IngestPipeline(redis, pool)


def _store(pipeline: IngestPipeline, name: str, count: int = 20) -> set[str]:
    """Store events whose ids begin so; returns the ids, once they are committed."""
    ids = {f"{name}-{number}" for number in range(count)}
    pipeline.push(*map(event, sorted(ids)))
    pipeline.drain()
    return ids


def _fingerprint(server: ArchivingServer) -> dict[str, TableState]:
    with connect(server.url) as connection:
        return take_fingerprint(connection)


def _archive_all(server: ArchivingServer, until: Until) -> None:
    [(name,)] = server.execute("SELECT pg_walfile_name(pg_switch_wal())")
    until((server.archive / str(name)).exists)


def _stored(server: ArchivingServer) -> set[str]:
    return {str(event_id) for (event_id,) in server.execute("SELECT event_id FROM events")}


def test_a_mistake_is_undone_up_to_the_moment_before_it(
    server: ArchivingServer, pipeline: IngestPipeline, until: Until, tmp_path: Path
) -> None:
    _store(pipeline, "in-the-base-backup")
    server.back_up()
    _store(pipeline, "in-the-log")
    right = _fingerprint(server)
    [(before,)] = server.execute("SELECT clock_timestamp()::text")
    environment = {"DATABASE_URL": server.url, "SSPP_BACKUP_URL": str(tmp_path / "backups")}
    kept = CliRunner().invoke(app, ["backup", "--only-revocations"], env=environment)
    assert kept.exit_code == 0, kept.output
    server.execute("DELETE FROM events")
    server.execute("DROP TABLE customers CASCADE")
    _archive_all(server, until)
    server.kill()
    server.lose_the_data()

    server.recover(recovery_target_time=str(before))
    until(lambda: server.execute("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    assert _fingerprint(server) == right
    server.execute("SELECT pg_wal_replay_resume()")
    until(lambda: server.execute("SELECT pg_is_in_recovery()") == [(False,)])

    settled = CliRunner().invoke(
        app, ["restore", "--after-recovery", "--no-index", "--quiet"], env=environment
    )
    assert settled.exit_code == 0, settled.output
    after = _store(pipeline, "after-the-recovery")
    assert after <= _stored(server)


def test_what_was_not_archived_yet_is_lost_with_the_disk(
    server: ArchivingServer, pipeline: IngestPipeline, until: Until
) -> None:
    server.back_up()
    archived = _store(pipeline, "archived")
    _archive_all(server, until)
    not_archived = _store(pipeline, "not-archived")
    server.kill()
    server.lose_the_data()
    server.recover(recovery_target_time="", recovery_target_action="promote")
    until(lambda: server.execute("SELECT pg_is_in_recovery()") == [(False,)])
    assert archived <= _stored(server)
    assert not not_archived & _stored(server)


def test_nothing_committed_is_lost_where_each_commit_waits_until_the_log_is_received(
    server: ArchivingServer, pipeline: IngestPipeline, until: Until
) -> None:
    committed: set[str] = set()

    def store() -> None:
        with suppress(psycopg.Error, TransientError):
            for number in range(100_000):
                committed.update(_store(pipeline, f"batch-{number}"))

    with server.receiving() as received:
        server.back_up()
        storing = threading.Thread(target=store)
        storing.start()
        until(lambda: len(committed) > 200)
        server.kill()
        storing.join()
    server.lose_the_data()
    server.recover(
        restore_command=f"cp {received}/%f %p || cp {received}/%f.partial %p",
        recovery_target_time="",
        recovery_target_action="promote",
    )
    until(lambda: server.execute("SELECT pg_is_in_recovery()") == [(False,)])
    assert committed <= _stored(server)
