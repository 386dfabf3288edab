"""Workers that die, sleep or are forgotten, and a Redis that goes away: the work goes on."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis
from rq_workers import GRACE_SECONDS, RECOVERY_SECONDS, RqWorker, idle, push, stored, storing_held_up, taken

from common.queue.streams import DEPTH_KEY, depth
from common.redis import open_redis
from common.wakeup import Waker, awake_key, job_queue
from infrastructure.local.folder import DataFolder
from infrastructure.local.process import Process
from infrastructure.local.valkey import Valkey


def worked(client: Redis) -> bool:
    """Whether the one worker has had its first look for work, and waits."""
    (name,) = client.smembers("rq:workers:ingest") or {""}
    return bool(client.hget(name, "successful_job_count")) and idle(client)


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


def test_an_ingest_worker_alone_makes_good_for_a_lost_wake_up(
    client: Redis, start: Callable[..., RqWorker], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    start("ingest", SSPP_DRAIN_LINGER_SECONDS="0")
    until(lambda: worked(client))
    client.set(awake_key("ingest"), 1, px=5000)  # as an API leaves it that dies before it enqueues the job
    push(client, "e1")

    until(lambda: stored(environment["DATABASE_URL"]) == 1, RECOVERY_SECONDS)


def test_what_a_killed_worker_had_taken_is_stored_by_another(
    client: Redis, start: Callable[..., RqWorker], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    push(client, "e1")
    # The first worker dies with the batch in hand.
    with storing_held_up(environment["DATABASE_URL"]):
        Waker(client, liveness_seconds=1).wake("ingest")
        doomed = start("ingest", SSPP_LIVENESS_SECONDS="1")
        until(lambda: taken(client) == 1)
        doomed.kill()
    start("ingest", SSPP_LIVENESS_SECONDS="1")
    start("maintenance", SSPP_LIVENESS_SECONDS="1")

    until(lambda: stored(environment["DATABASE_URL"]) == 1)
    until(lambda: depth(client) == {})


def test_what_rq_s_dead_leave_behind_holds_up_nothing(
    client: Redis, start: Callable[..., RqWorker], until: Callable[..., Any], environment: dict[str, str]
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
    until(lambda: worker.logged("metrics_served"))

    until(lambda: stored(environment["DATABASE_URL"]) == 1, RECOVERY_SECONDS)


def test_a_worker_that_slept_while_another_took_its_work_over_does_no_harm(
    client: Redis, start: Callable[..., RqWorker], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    url, patience = environment["DATABASE_URL"], {"SSPP_LIVENESS_SECONDS": "1"}
    sleeper = start("ingest", **patience)
    until(lambda: idle(client))
    with psycopg.connect(url) as connection:
        # Once it has read its entries, it looks up the event types.
        connection.execute("LOCK TABLE event_types IN ACCESS EXCLUSIVE MODE")
        push(client, "e1", "e2")
        Waker(client, liveness_seconds=1).enqueue("ingest")
        until(lambda: taken(client) == 1, RECOVERY_SECONDS)
        sleeper.send_signal(signal.SIGSTOP)
    start("ingest", **patience)
    until(lambda: stored(url) == 2 and depth(client) == {})
    push(client, "e3")
    until(lambda: stored(url) == 3 and depth(client) == {})

    sleeper.send_signal(signal.SIGCONT)

    line = until(lambda: sleeper.logged("batch_stored"))
    assert (line["stored"], line["duplicates"]) == (0, 2)
    sleeper.send_signal(signal.SIGTERM)
    assert sleeper.wait(GRACE_SECONDS) == 0
    assert (stored(url), depth(client)) == (3, {})
    assert all(int(left) == 0 for left in client.hvals(DEPTH_KEY))


def test_a_worker_that_rq_struck_off_is_counted_again(
    client: Redis, start: Callable[..., RqWorker], until: Callable[..., Any]
) -> None:
    start("ingest", SSPP_DRAIN_LINGER_SECONDS="0")
    until(lambda: idle(client))
    (name,) = client.smembers("rq:workers:ingest")
    client.delete("rq:workers", "rq:workers:ingest", name)
    Waker(client, liveness_seconds=5).enqueue("ingest")

    until(lambda: client.smembers("rq:workers:ingest") == {name})


def test_workers_wait_for_redis_for_as_long_as_it_is_away(
    environment: dict[str, str],
    start: Callable[..., RqWorker],
    until: Callable[..., Any],
    data_folder_path: Path,
) -> None:
    with own_redis(data_folder_path) as (url, server), open_redis(url) as client:
        until(server.command.is_ready)
        there = {"REDIS_URL": url, "RQ_REDIS_URL": url}
        waiting, told_to_stop = start("ingest", **there), start("ingest", **there)
        until(lambda: len(client.smembers("rq:workers:ingest")) == 2 and idle(client))
        os.kill(server.pid, signal.SIGKILL)
        server.end()
        # Several vain attempts of each.
        until(lambda: waiting.count("watchdog_waits_for_redis") >= 4)
        told_to_stop.send_signal(signal.SIGTERM)
        assert told_to_stop.wait(GRACE_SECONDS) == 0

        server.start()
        until(server.command.is_ready)
        push(client, "e1")

        until(lambda: stored(environment["DATABASE_URL"]) == 1, RECOVERY_SECONDS)
        assert waiting.poll() is None
