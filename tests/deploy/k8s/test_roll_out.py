"""A roll-out under load: every process is replaced as the manifests have Kubernetes do it.

Kubernetes's part is acted out on processes: a new pod starts and gets requests once it is ready; then an old
one is told to go, and `preStop` runs while proxies still learn of it; then it gets SIGTERM.
"""

import http.client
import itertools
import json
import secrets
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from k8s_balancer import Balancer, balancing
from k8s_manifests import Workload, overlay
from k8s_processes import Process, Runner, new_key

_SENDERS = 4
_PAUSE_SECONDS = 0.01  # some hundred events a second, on machines that have other things to do as well
_API_PODS = 2
_PROXIES_LAG_SECONDS = 3.0
"""For how long proxies go on sending to a pod that is on its way out."""

_UVICORNS_OWN_KEEP_ALIVE_SECONDS = 5.0

pytestmark = pytest.mark.timeout(600)


@dataclass
class Senders:
    """Clients that send single events through the balancer, each over a connection that it keeps, until told to stop.

    None of them tries a second time.
    """

    url: str
    key: str
    name: str = field(default_factory=lambda: f"rolled-{secrets.token_hex(3)}")
    accepted: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(_SENDERS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=40, trust_env=False) as client:
            while not self._done.wait(_PAUSE_SECONDS):
                event = _event(f"{self.name}-{next(self._numbers)}")
                try:
                    answer = client.post("/v1/events", json=event)
                except httpx.TransportError as error:
                    self.failed.append(f"{event['event_id']}: {error!r}")
                    continue
                if answer.status_code == 202:
                    self.accepted.append(event["event_id"])
                else:
                    self.failed.append(f"{event['event_id']}: {answer.status_code} {answer.text}")


@dataclass
class RollOut:
    """The pods of the platform, and how they are replaced."""

    runner: Runner
    balancer: Balancer
    stack: ExitStack
    until: Any

    def start(self, workload: Workload) -> Process:
        """A new pod, ready; its init containers have tests of their own."""
        process = self.stack.enter_context(self.runner.running(workload))
        self.until(lambda: process.passes("readinessProbe"))
        return process

    def serve(self, workload: Workload) -> Process:
        process = self.start(workload)
        self.balancer.add(process.url)
        return process

    def end(self, process: Process) -> int:
        """Ask an old pod to go; returns how its process ended, within the time that it is given."""
        told = time.monotonic()
        proxies = threading.Timer(_PROXIES_LAG_SECONDS, self.balancer.remove, [process.url])
        proxies.start()
        if hook := process.container.get("lifecycle"):
            subprocess.run(hook["preStop"]["exec"]["command"], check=True)
        process.grace_seconds -= time.monotonic() - told
        ended = process.stop()
        proxies.join()
        return ended


def test_no_request_fails_and_no_event_is_lost_while_every_process_is_replaced(
    migrated: dict[str, str], outside: dict[str, str], tmp_path: Path, until: Any
) -> None:
    runner = Runner(overlay("prod"), tmp_path, migrated | outside)
    workloads = {
        each.labels["app.kubernetes.io/component"]: each for each in runner.rendering.workloads("Deployment")
    }
    api = workloads.pop("api")
    key = new_key(runner)
    with ExitStack() as stack:
        pods = RollOut(runner, stack.enter_context(balancing()), stack, until)
        workers = {name: pods.start(workload) for name, workload in workloads.items()}
        serving = [pods.serve(api) for _ in range(_API_PODS)]
        idle = stack.enter_context(closing(_KeptConnection(serving[0].url, key)))
        assert idle.send("before") == 202
        senders = Senders(pods.balancer.url, key)
        stack.callback(senders.stop)
        until(lambda: len(senders.accepted) > 50)
        until(lambda: idle.age_seconds > _UVICORNS_OWN_KEEP_ALIVE_SECONDS + 1)
        assert idle.send("after") == 202, "idle connections are closed before proxies give them up"

        # Workers before the API, each new pod before an old one goes: docs/howto/upgrade.md.
        for name, workload in workloads.items():
            pods.start(workload)
            assert pods.end(workers[name]) == 0, f"{name} did not end well"
        for old in serving:
            pods.serve(api)
            # uvicorn finishes its work and then lets the signal have its way.
            assert pods.end(old) in {0, -signal.SIGTERM}
        sent = len(senders.accepted)
        until(lambda: len(senders.accepted) > sent + 50)
        senders.stop()

        assert (senders.failed, pods.balancer.broken) == ([], [])
        accepted = len(senders.accepted)
        with psycopg.connect(migrated["migrator-url"], autocommit=True) as connection:
            count = "SELECT count(*), count(DISTINCT event_id) FROM events WHERE starts_with(event_id, %s)"
            until(
                lambda: connection.execute(count, [senders.name]).fetchone() == (accepted, accepted),
            )
        search = f"{pods.serve(api).url}/v1/search"
        found = {"headers": {"Authorization": f"Bearer {key}"}, "params": {"limit": 1}, "timeout": 30}
        until(lambda: httpx.get(search, **found, trust_env=False).json()["total"] == accepted + 2)
    sys.stdout.write(f"{accepted} events accepted, stored and found once each; 0 requests failed\n")


class _KeptConnection:
    """A connection that a proxy keeps open; it is never opened a second time."""

    def __init__(self, url: str, key: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._used = time.monotonic()

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self._used

    def close(self) -> None:
        self._connection.close()

    def send(self, event_id: str) -> int:
        body = json.dumps(_event(event_id))
        self._connection.request("POST", "/v1/events", body=body, headers=self._headers)
        self._connection.auto_open = 0
        answer = self._connection.getresponse()
        answer.read()
        self._used = time.monotonic()
        return answer.status


def _event(event_id: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": "purchase",
        "customer_id": "ada",
        "data": {"amount": "1.00", "currency": "USD"},
    }
