"""A worker that is told to stop: it finishes what is in work, and leaves nothing taken."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE_SECONDS
from redis import Redis
from rq_workers import GRACE_SECONDS, RqWorker, idle, living_drains, push, stored, storing_held_up, taken

from common.queue.streams import depth, lane_of
from common.wakeup import Waker, awake_key, job_queue

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_drain_cleanly_and_what_waits_stays_queued(
    client: Redis,
    start: Callable[..., RqWorker],
    until: Callable[..., Any],
    sent: signal.Signals,
    environment: Any,
) -> None:
    push(client, "e1")
    Waker(client, liveness_seconds=5).wake("ingest")
    worker = start("ingest", SSPP_DRAIN_LINGER_SECONDS="600", SSPP_DRAIN_BUDGET_SECONDS="600")
    until(lambda: stored(environment["DATABASE_URL"]) == 1)

    worker.send_signal(sent)

    assert worker.wait(PATIENCE_SECONDS) == 0
    push(client, "e2")
    assert depth(client) == {lane_of(1): 1}
    assert not client.exists(awake_key("ingest"))


def test_a_stop_lets_the_batch_in_work_finish_and_leaves_the_rest_to_others_at_once(
    client: Redis, start: Callable[..., RqWorker], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    with storing_held_up(environment["DATABASE_URL"]):
        push(client, "e1")
        worker = start("ingest")
        until(lambda: taken(client) == 1)
        push(client, "e2")
        worker.send_signal(signal.SIGTERM)

    assert worker.wait(GRACE_SECONDS) == 0
    assert stored(environment["DATABASE_URL"]) == 1
    assert (depth(client), taken(client), living_drains(client)) == ({lane_of(1): 1}, 0, [])
    assert job_queue("ingest", client).count == 1
    assert not client.smembers("rq:workers:ingest")


def test_a_second_signal_cuts_the_batch_off_and_another_worker_takes_it_over_at_once(
    client: Redis, start: Callable[..., RqWorker], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    with storing_held_up(environment["DATABASE_URL"]):
        push(client, "e1")
        # So patient that only what was released by the dying one can be taken over in time.
        worker = start("ingest", SSPP_LIVENESS_SECONDS="600")
        until(lambda: taken(client) == 1)
        worker.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        until(lambda: time.monotonic() > signalled + 1.1)  # RQ takes an earlier one for an echo of the first
        worker.send_signal(signal.SIGINT)

        assert worker.wait(GRACE_SECONDS) == 0
        assert (taken(client), living_drains(client)) == (1, [])
    start("ingest", SSPP_LIVENESS_SECONDS="600")

    until(lambda: stored(environment["DATABASE_URL"]) == 1)
    until(lambda: depth(client) == {})


def test_a_stop_is_heard_while_waiting_for_a_wake_up(
    client: Redis, start: Callable[..., RqWorker], until: Callable[..., Any]
) -> None:
    worker = start("ingest", SSPP_DRAIN_LINGER_SECONDS="0")
    until(lambda: worker.logged("metrics_served") and idle(client))

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(GRACE_SECONDS) == 0
    assert worker.logged("worker_stopped")
    assert not client.smembers("rq:workers:ingest")


def test_a_stop_is_heard_during_the_start(start: Callable[..., RqWorker], until: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts connections, and says nothing
        port = mute.getsockname()[1]
        worker = start("ingest", DATABASE_URL=f"postgresql://nobody@127.0.0.1:{port}/none")
        until(lambda: worker.logged("worker_starting"))

        worker.send_signal(signal.SIGTERM)

        assert worker.wait(GRACE_SECONDS) == 0
    assert not worker.logged("metrics_served")


def test_a_stop_in_the_middle_of_the_start_of_a_thread_ends_it_well(environment: dict[str, str]) -> None:
    # Where `Thread.start` takes a failure to be one of the start, and stumbles over the thread that runs.
    script = (
        "import os, signal, sys, threading, time\n"
        "start = threading._start_new_thread\n"
        "def start_and_stop(*arguments):\n"
        "    threading._start_new_thread = start\n"
        "    start(*arguments)\n"
        "    time.sleep(0.2)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(0.2)\n"
        "threading._start_new_thread = start_and_stop\n"
        "from rq.cli import main\n"
        "main(['worker', 'ingest'])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], "LOG_FORMAT": "json", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"worker_starting"' in done.stdout + done.stderr
    assert "KeyError" not in done.stdout + done.stderr


def test_a_stop_is_heard_while_postgresql_is_away_and_nothing_stays_taken_by_the_dead(
    client: Redis, start: Callable[..., RqWorker], until: Callable[..., Any]
) -> None:
    push(client, "e1")
    worker = start("ingest", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    until(lambda: worker.logged("batch_put_off"))

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(GRACE_SECONDS) == 0
    assert (depth(client), living_drains(client)) == ({lane_of(1): 1}, [])
    assert job_queue("ingest", client).count == 1
