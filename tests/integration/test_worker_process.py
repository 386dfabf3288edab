"""`rq worker` as the documentation has it: no flags, only the environment."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis

from common.errors import SettingsError
from common.queue.streams import DEPTH_KEY, Record, depth, encode_entry, lane_of
from common.redis import open_redis
from common.wakeup import Waker, awake_key, job_queue
from infrastructure.local.folder import DataFolder
from infrastructure.local.process import Process
from infrastructure.local.valkey import Valkey

RQ = Path(sys.executable).with_name("rq")
# What Kubernetes grants a process between SIGTERM and SIGKILL.
GRACE_SECONDS = 30
# Within which what a dead process left is taken over.
RECOVERY_SECONDS = 15
EVENT = {"event_type": "purchase", "customer_id": "c1", "data": {"amount": "1.00", "currency": "USD"}}


@pytest.fixture
def client(environment: dict[str, str]) -> Iterator[Redis]:
    with open_redis(environment["REDIS_URL"]) as client:
        yield client


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **changes: str) -> subprocess.Popen[str]:
        variables = {"PATH": os.environ["PATH"], "LOG_FORMAT": "json"} | environment | changes
        log = (tmp_path / f"worker-{len(running)}.log").open("w")
        worker = subprocess.Popen(
            [RQ, "worker", *arguments], env=variables, stdout=log, stderr=subprocess.STDOUT
        )
        worker.log_path = Path(log.name)  # type: ignore[attr-defined]
        log.close()
        running.append(worker)
        return worker

    yield start
    for worker in running:
        worker.kill()
        worker.wait()


def lines(worker: Any) -> list[dict[str, Any]]:
    found = [line for line in worker.log_path.read_text().splitlines() if line.startswith("{")]
    return [json.loads(line) for line in found]


def logged(worker: Any, event: str) -> dict[str, Any] | None:
    return next((line for line in lines(worker) if line["event"] == event), None)


def push(client: Redis, *ids: str) -> None:
    records = [
        Record(each, datetime.now(UTC), json.dumps(EVENT | {"event_id": each}).encode()) for each in ids
    ]
    client.xadd(lane_of(1), encode_entry(1, records))
    client.hincrby(DEPTH_KEY, lane_of(1), len(records))


def stored(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM events").fetchone()
    assert row
    return int(row[0])


def test_a_woken_worker_stores_what_waits_and_wakes_the_index(
    client: Redis, start: Callable[..., Any], environment: dict[str, str]
) -> None:
    push(client, "e1", "e2")
    Waker(client, liveness_seconds=5).wake("ingest")

    worker = start("--burst", "ingest", SSPP_DRAIN_LINGER_SECONDS="0.1")

    assert worker.wait(30) == 0
    assert stored(environment["DATABASE_URL"]) == 2
    assert depth(client) == {}
    assert job_queue("index", client).count == 1


def test_jobs_are_json_and_their_lines_carry_worker_and_batch(
    client: Redis, start: Callable[..., Any]
) -> None:
    push(client, "e1")
    Waker(client, liveness_seconds=5).wake("ingest")
    (job,) = job_queue("ingest", client).jobs
    assert json.loads(job.data) == ["worker.jobs.drain", None, ["ingest"], {}]

    worker = start("--burst", "ingest", SSPP_DRAIN_LINGER_SECONDS="0.1")
    worker.wait(30)

    line = logged(worker, "batch_stored")
    assert line
    assert line["batch_id"] == 1
    assert len({each["worker"] for each in lines(worker) if "worker" in each}) == 1


def test_the_log_shows_the_settings_and_no_password(
    environment: dict[str, str], start: Callable[..., Any]
) -> None:
    url = environment["ELASTICSEARCH_URL"].replace("://", "://elastic:open-sesame@")
    worker = start("--burst", "index", ELASTICSEARCH_URL=url)
    worker.wait(30)

    starting = logged(worker, "worker_starting")
    assert starting
    assert starting["settings"]["SSPP_BATCH_EVENTS"] == 5000
    assert starting["settings"]["ELASTICSEARCH_URL"] == url.replace("open-sesame", "***")
    assert "open-sesame" not in worker.log_path.read_text()
    if password := psycopg.conninfo.conninfo_to_dict(environment["DATABASE_URL"]).get("password"):
        assert password not in worker.log_path.read_text()


def test_a_worker_serves_its_metrics_on_the_port_that_it_reports(
    start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    worker = start("ingest")
    served = until(lambda: logged(worker, "metrics_served"), 30)

    with urllib.request.urlopen(f"http://{served['host']}:{served['port']}/metrics") as answer:
        text = answer.read().decode()

    assert "sspp_events_stored_total" in text
    assert 'sspp_lane_depth_events{lane="sspp:ingest:0"}' in text
    assert "sspp_outbox_depth_signals" in text


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_drain_cleanly_and_what_waits_stays_queued(
    client: Redis,
    start: Callable[..., Any],
    until: Callable[..., Any],
    sent: signal.Signals,
    environment: Any,
) -> None:
    push(client, "e1")
    Waker(client, liveness_seconds=5).wake("ingest")
    worker = start("ingest", SSPP_DRAIN_LINGER_SECONDS="600", SSPP_DRAIN_BUDGET_SECONDS="600")
    until(lambda: stored(environment["DATABASE_URL"]) == 1, 30)

    worker.send_signal(sent)

    assert worker.wait(20) == 0
    push(client, "e2")
    assert depth(client) == {lane_of(1): 1}
    assert not client.exists(awake_key("ingest"))


@contextmanager
def storing_held_up(url: str) -> Iterator[None]:
    """No batch can be stored while the context lasts."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE event_keys IN SHARE MODE")
        yield


def taken(client: Redis) -> int:
    """How many entries of the tenant's lane a drain has in hand."""
    groups = client.xinfo_groups(lane_of(1)) if client.exists(lane_of(1)) else []
    return sum(group["pending"] for group in groups)


def idle(client: Redis, queue: str = "ingest") -> bool:
    """Whether all workers of the queue wait for a wake-up."""
    names = client.smembers(f"rq:workers:{queue}")
    return bool(names) and all(client.hget(name, "state") == b"idle" for name in names)


def worked(client: Redis) -> bool:
    """Whether the one worker has had its first look for work, and waits."""
    (name,) = client.smembers("rq:workers:ingest") or {""}
    return bool(client.hget(name, "successful_job_count")) and idle(client)


def living_drains(client: Redis) -> list[bytes]:
    return list(client.scan_iter("sspp:drain:*"))


def test_a_stop_lets_the_batch_in_work_finish_and_leaves_the_rest_to_others_at_once(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    with storing_held_up(environment["DATABASE_URL"]):
        push(client, "e1")
        worker = start("ingest")
        until(lambda: taken(client) == 1, 30)
        push(client, "e2")
        worker.send_signal(signal.SIGTERM)

    assert worker.wait(GRACE_SECONDS) == 0
    assert stored(environment["DATABASE_URL"]) == 1
    assert (depth(client), taken(client), living_drains(client)) == ({lane_of(1): 1}, 0, [])
    assert job_queue("ingest", client).count == 1
    assert not client.smembers("rq:workers:ingest")


def test_a_second_signal_cuts_the_batch_off_and_another_worker_takes_it_over_at_once(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    with storing_held_up(environment["DATABASE_URL"]):
        push(client, "e1")
        # So patient that only what was released by the dying one can be taken over in time.
        worker = start("ingest", SSPP_LIVENESS_SECONDS="600")
        until(lambda: taken(client) == 1, 30)
        worker.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        until(lambda: time.monotonic() > signalled + 1.1)  # RQ takes an earlier one for an echo of the first
        worker.send_signal(signal.SIGINT)

        assert worker.wait(GRACE_SECONDS) == 0
        assert (taken(client), living_drains(client)) == (1, [])
    start("ingest", SSPP_LIVENESS_SECONDS="600")

    until(lambda: stored(environment["DATABASE_URL"]) == 1, 30)
    until(lambda: depth(client) == {})


def test_a_stop_is_heard_while_waiting_for_a_wake_up(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    worker = start("ingest", SSPP_DRAIN_LINGER_SECONDS="0")
    until(lambda: logged(worker, "metrics_served") and idle(client), 30)

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(GRACE_SECONDS) == 0
    assert logged(worker, "worker_stopped")
    assert not client.smembers("rq:workers:ingest")


def test_a_stop_is_heard_during_the_start(start: Callable[..., Any], until: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts connections, and says nothing
        port = mute.getsockname()[1]
        worker = start("ingest", DATABASE_URL=f"postgresql://nobody@127.0.0.1:{port}/none")
        until(lambda: logged(worker, "worker_starting"), 30)

        worker.send_signal(signal.SIGTERM)

        assert worker.wait(GRACE_SECONDS) == 0
    assert not logged(worker, "metrics_served")


def test_a_stop_is_heard_while_postgresql_is_away_and_nothing_stays_taken_by_the_dead(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    push(client, "e1")
    worker = start("ingest", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    until(lambda: logged(worker, "batch_put_off"), 30)

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(GRACE_SECONDS) == 0
    assert (depth(client), living_drains(client)) == ({lane_of(1): 1}, [])
    assert job_queue("ingest", client).count == 1


def test_an_ingest_worker_alone_makes_good_for_a_lost_wake_up(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    start("ingest", SSPP_DRAIN_LINGER_SECONDS="0")
    until(lambda: worked(client), 30)
    client.set(awake_key("ingest"), 1, px=5000)  # as an API leaves it that dies before it enqueues the job
    push(client, "e1")

    until(lambda: stored(environment["DATABASE_URL"]) == 1, RECOVERY_SECONDS)


def test_what_rq_s_dead_leave_behind_holds_up_nothing(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    queue = job_queue("ingest", client)
    waker = Waker(client, liveness_seconds=5)
    for _ in range(3):
        waker.enqueue("ingest")
    popped, started, without_hash = (job.id for job in queue.jobs)
    # A worker vanished between taking the job and starting it,
    client.lrem(queue.key, 1, popped)
    client.rpush(queue.intermediate_queue_key, popped)
    # one that ran it, and whose registration outlived it,
    client.lrem(queue.key, 1, started)
    client.zadd(queue.started_job_registry.key, {f"{started}:execution": time.time() + 600})
    client.hset("rq:worker:ghost", mapping={"birth": "2026-01-01T00:00:00.000000Z", "queues": "ingest"})
    client.sadd("rq:workers:ingest", "rq:worker:ghost")
    client.sadd("rq:workers", "rq:worker:ghost")
    # one in the middle of RQ's maintenance;
    client.set(queue.registry_cleaning_key, 1, ex=899)
    # a job expired, and somebody was woken.
    client.delete(f"rq:job:{without_hash}")
    client.set(awake_key("ingest"), 1, px=5000)
    push(client, "e1")

    worker = start("ingest")
    until(lambda: logged(worker, "metrics_served"), 30)

    until(lambda: stored(environment["DATABASE_URL"]) == 1, RECOVERY_SECONDS)


def test_a_worker_that_slept_while_another_took_its_work_over_does_no_harm(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    url, patience = environment["DATABASE_URL"], {"SSPP_LIVENESS_SECONDS": "1"}
    sleeper = start("ingest", **patience)
    until(lambda: idle(client), 30)
    with psycopg.connect(url) as connection:
        # Once it has read its entries, it looks up the event types.
        connection.execute("LOCK TABLE event_types IN ACCESS EXCLUSIVE MODE")
        push(client, "e1", "e2")
        Waker(client, liveness_seconds=1).enqueue("ingest")
        until(lambda: taken(client) == 1, RECOVERY_SECONDS)
        sleeper.send_signal(signal.SIGSTOP)
    start("ingest", **patience)
    until(lambda: stored(url) == 2 and depth(client) == {}, 30)
    push(client, "e3")
    until(lambda: stored(url) == 3 and depth(client) == {}, 30)

    sleeper.send_signal(signal.SIGCONT)

    line = until(lambda: logged(sleeper, "batch_stored"), 30)
    assert (line["stored"], line["duplicates"]) == (0, 2)
    sleeper.send_signal(signal.SIGTERM)
    assert sleeper.wait(GRACE_SECONDS) == 0
    assert (stored(url), depth(client)) == (3, {})
    assert all(int(left) == 0 for left in client.hvals(DEPTH_KEY))


def test_a_worker_that_rq_struck_off_is_counted_again(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    start("ingest", SSPP_DRAIN_LINGER_SECONDS="0")
    until(lambda: idle(client), 30)
    (name,) = client.smembers("rq:workers:ingest")
    client.delete("rq:workers", "rq:workers:ingest", name)
    Waker(client, liveness_seconds=5).enqueue("ingest")

    until(lambda: client.smembers("rq:workers:ingest") == {name}, 30)


@contextmanager
def own_redis(path: Path) -> Iterator[tuple[str, Process]]:
    """A Redis that may be killed."""
    folder = DataFolder(path)
    folder.hold()
    valkey = Valkey(folder)
    server = Process(valkey.prepare(), folder)
    server.start()
    try:
        yield valkey.url, server
    finally:
        server.ask_to_stop()
        server.end()
        folder.release()


def test_workers_wait_for_redis_for_as_long_as_it_is_away(
    environment: dict[str, str],
    start: Callable[..., Any],
    until: Callable[..., Any],
    data_folder_path: Path,
) -> None:
    with own_redis(data_folder_path) as (url, server), open_redis(url) as client:
        until(server.command.is_ready)
        there = {"REDIS_URL": url, "RQ_REDIS_URL": url}
        waiting, told_to_stop = start("ingest", **there), start("ingest", **there)
        until(lambda: len(client.smembers("rq:workers:ingest")) == 2 and idle(client), 30)
        os.kill(server.pid, signal.SIGKILL)
        server.end()
        # Several vain attempts of each.
        until(lambda: count(waiting, "watchdog_waits_for_redis") >= 4, 30)
        told_to_stop.send_signal(signal.SIGTERM)
        assert told_to_stop.wait(GRACE_SECONDS) == 0

        server.start()
        until(server.command.is_ready)
        push(client, "e1")

        until(lambda: stored(environment["DATABASE_URL"]) == 1, RECOVERY_SECONDS)
        assert waiting.poll() is None


def count(worker: Any, event: str) -> int:
    return sum(line["event"] == event for line in lines(worker))


def test_what_a_killed_worker_had_taken_is_stored_by_another(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    push(client, "e1")
    # The batch cannot be stored while this lock is held: the first worker dies with it in hand.
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        connection.execute("LOCK TABLE event_keys IN SHARE MODE")
        Waker(client, liveness_seconds=1).wake("ingest")
        doomed = start("ingest", SSPP_LIVENESS_SECONDS="1")
        until(lambda: any(group["pending"] == 1 for group in client.xinfo_groups(lane_of(1))), 30)
        doomed.kill()
    start("ingest", SSPP_LIVENESS_SECONDS="1")
    start("maintenance", SSPP_LIVENESS_SECONDS="1")

    until(lambda: stored(environment["DATABASE_URL"]) == 1, 30)
    until(lambda: depth(client) == {}, 10)


def test_the_watchdog_finds_work_that_nobody_was_woken_for(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    push(client, "e1")
    start("maintenance")
    start("ingest")

    until(lambda: stored(environment["DATABASE_URL"]) == 1, 30)


def test_the_watchdog_has_the_database_kept_in_shape(
    start: Callable[..., Any], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until, indexed_at)"
            " VALUES (1, 1, '{}', now(), now(), now() - interval '1 day')"
        )
        start("maintenance")

        until(lambda: connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,), 30)


def test_a_missing_setting_ends_the_worker_with_its_name(start: Callable[..., Any]) -> None:
    worker = start("ingest", DATABASE_URL="", SSPP_BATCH_EVENTS="many")

    assert worker.wait(30) != 0
    assert "SSPP_BATCH_EVENTS" in worker.log_path.read_text()


def test_a_database_that_was_not_migrated_ends_the_worker_with_advice(
    start: Callable[..., Any], empty_database_url: str
) -> None:
    worker = start("ingest", DATABASE_URL=empty_database_url)

    assert worker.wait(30) != 0
    assert "sspp migrate" in worker.log_path.read_text()


@pytest.mark.parametrize(
    "older", ["DROP TABLE index_marks", "ALTER TABLE outbox DROP COLUMN put_off_until CASCADE"]
)
def test_a_database_of_an_older_release_ends_the_worker_with_advice(
    start: Callable[..., Any], database_url: str, older: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(older)
    worker = start("index")

    assert worker.wait(30) != 0
    assert "sspp migrate" in worker.log_path.read_text()


def test_a_worker_that_starts_while_postgresql_is_away_waits_for_it(
    start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    worker = start("ingest", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")

    until(lambda: logged(worker, "dependency_away"), 30)
    until(lambda: logged(worker, "metrics_served"), 30)
    assert worker.poll() is None


def test_a_job_outside_of_our_worker_is_told_what_is_missing() -> None:
    from worker.jobs import drain

    with pytest.raises(RuntimeError, match="RQ_WORKER_CLASS"):
        drain("ingest")


def test_settings_problems_name_every_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    from common.settings import load_settings

    for name in ("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL"):
        monkeypatch.delenv(name, raising=False)
    load_settings.cache_clear()
    with pytest.raises(SettingsError, match=r"DATABASE_URL.*REDIS_URL.*ELASTICSEARCH_URL"):
        load_settings()
    load_settings.cache_clear()
