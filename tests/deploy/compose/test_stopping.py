"""SIGTERM on the image's process 1: what is in work is finished, whatever process 1 hands it on to."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from running import GRACE_SECONDS, PROCESSES, Containers

pytestmark = pytest.mark.timeout(10 * 60)

PATIENCE_SECONDS = GRACE_SECONDS - 10

Until = Callable[..., Any]


@contextmanager
def stopping(containers: Containers, service: str) -> Iterator[subprocess.Popen[str]]:
    """`service` is being stopped by what is yielded; in the end it has ended well and in time, and is started again."""
    # A process says good-bye to its stores by their names. Podman's name server is away for a while whenever a
    # container starts, as the one that was stopped before this has just done.
    containers.shell(service, "getent hosts redis postgres elasticsearch")
    begun = time.monotonic()
    process = containers.begin_to_stop(service)
    try:
        yield process
        process.communicate(timeout=2 * PATIENCE_SECONDS)
        took, ended, said = (
            time.monotonic() - begun,
            containers.exit_code(service),
            containers.logs(service)[-3000:],
        )
    finally:
        process.kill()
        process.communicate()
        containers.compose("start", service)
    # Whoever is killed ends with 137, and takes the whole grace.
    assert (process.returncode, ended, took < PATIENCE_SECONDS) == (0, 0, True), (took, said)


@pytest.mark.parametrize("service", PROCESSES)
def test_an_idle_process_ends_at_once(containers: Containers, service: str) -> None:
    with stopping(containers, service):
        pass


def test_a_worker_stores_the_batch_in_work(
    containers: Containers, send: Callable[[int], str], until: Until
) -> None:
    with psql(containers) as ask:
        # Longer than ten seconds nobody waits for a lock.
        assert ask("BEGIN; LOCK TABLE event_keys; SELECT 'locked'") == "locked"
        mark = send(100)  # in one batch
        until(lambda: int(ask("SELECT count(*) FROM pg_locks WHERE NOT granted")), timeout=30)
        with stopping(containers, "worker-ingest") as stop:
            # Nobody can be asked whether the signal has arrived: podman answers nothing about what it is stopping.
            told = time.monotonic()
            until(lambda: time.monotonic() > told + 3)
            assert ask("ROLLBACK; SELECT 'free'") == "free"
            stop.wait(2 * PATIENCE_SECONDS)
            # Nobody but the worker that was stopped could have stored them.
            assert containers.stored(mark) == 100


@contextmanager
def psql(containers: Containers) -> Iterator[Callable[[str], str]]:
    """A session of the superuser that answers statements with the last one's row."""
    session = containers.begin(*["exec", "-T", "postgres", "psql", "-U", "postgres", "-d", "sspp", "-Atq"])
    assert session.stdin
    assert session.stdout
    source, sink = session.stdout, session.stdin

    def ask(statements: str) -> str:
        sink.write(f"{statements};\n")
        sink.flush()
        return source.readline().strip()

    try:
        yield ask
    finally:
        session.communicate(timeout=30)


def test_the_api_answers_the_request_in_work(containers: Containers, key: str, until: Until) -> None:
    body = json.dumps({"event_type": "inquiry", "customer_id": "ada", "data": {"subject": "Late"}}).encode()
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    url = containers.api.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head.encode())
        # It asks for the body: so the request is in work.
        assert connection.recv(1024).startswith(b"HTTP/1.1 100 ")
        with stopping(containers, "api"):
            until(lambda: not reachable(containers), timeout=PATIENCE_SECONDS)
            connection.sendall(body)
            assert connection.recv(4096).startswith(b"HTTP/1.1 202 ")
    until(lambda: reachable(containers), timeout=60)


def reachable(containers: Containers) -> bool:
    try:
        return httpx.get(containers.api.base_url.join("/healthz"), trust_env=False).is_success
    except httpx.TransportError:
        return False
