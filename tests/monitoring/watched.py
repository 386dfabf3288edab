"""A running platform with a Prometheus of its own, and traffic of every kind for it to see."""

import itertools
import json
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from black_box import Platform, Tenant, purchase
from patience import PATIENCE_SECONDS

from infrastructure.monitoring.generate import RULES

WORKERS = ("worker-ingest-1", "worker-ingest-2", "worker-index", "worker-maintenance")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def worker_address(platform: Platform, name: str) -> str:
    """Where a worker serves its metrics, as its log says; empty if it does not say so yet."""
    ports = [line["port"] for line in platform.log_lines(name) if line.get("event") == "metrics_served"]
    return f"127.0.0.1:{ports[-1]}" if ports else ""


class Prometheus:
    """What a Prometheus answers."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    @property
    def is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[float]:
        """The values of an instant query; raises AssertionError if it does not parse."""
        answer = self._client.post("/api/v1/query", data={"query": expression})
        assert answer.is_success, f"{expression}: {answer.text}"
        result = answer.json()["data"]
        assert result["resultType"] == "vector", expression
        return [float(sample["value"][1]) for sample in result["result"]]

    def rules(self) -> list[dict[str, Any]]:
        groups = self._client.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def targets(self) -> dict[str, str]:
        """The health of each target, by its address."""
        found = self._client.get("/api/v1/targets").json()["data"]["activeTargets"]
        return {target["labels"]["instance"]: target["health"] for target in found}

    def close(self) -> None:
        self._client.close()


@contextmanager
def running(
    program: str, folder: Path, jobs: Mapping[str, list[str]], until: Callable[..., Any]
) -> Iterator[Prometheus]:
    """A Prometheus with the platform's rules that looks every second at the addresses of each job."""
    port = free_port()
    configuration = folder / "prometheus.yml"  # JSON is YAML
    configuration.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES / "*.yml")],
                "scrape_configs": [
                    {"job_name": job, "static_configs": [{"targets": addresses}]}
                    for job, addresses in jobs.items()
                ],
            }
        )
    )
    with started(
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        log=folder / "prometheus.log",
    ):
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        try:
            until(lambda: prometheus.is_ready)
            yield prometheus
        finally:
            prometheus.close()


@contextmanager
def started(program: str, *arguments: str, log: Path) -> Iterator[None]:
    """A program for as long as the context lasts."""
    with log.open("wb") as output:
        process = subprocess.Popen([program, *arguments], stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@contextmanager
def traffic(platform: Platform, tenant: Tenant, limited_key: str) -> Iterator[None]:
    """Requests of every kind, some of which are refused, for as long as the context lasts."""
    done = threading.Event()
    failures: list[Exception] = []

    def send() -> None:
        try:
            with platform.client(limited_key) as limited:
                for number in itertools.count():
                    if done.is_set():
                        return
                    _send_once(tenant, limited, number)
                    time.sleep(0.05)
        except Exception as error:  # noqa: BLE001  # raised below, in the test's own thread
            failures.append(error)

    thread = threading.Thread(target=send, name="traffic")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if failures:
        raise failures[0]


def _send_once(tenant: Tenant, limited: httpx.Client, number: int) -> None:
    event_id = f"{secrets.token_hex(4)}-{number}"
    answer = tenant.api.post(
        "/v1/events",
        json=[
            *(purchase(f"{event_id}-{part}", customer_id=f"c-{part}") for part in range(5)),
            purchase(f"{event_id}-0", amount="2.50"),  # of other content than before
            {"event_id": f"{event_id}-type", "event_type": "no_such_type", "customer_id": "c", "data": {}},
            {"event_id": f"{event_id}-none"},  # no event at all: the API refuses it
        ],
    )
    assert answer.status_code == 202, answer.text
    assert tenant.api.get("/v1/search", params={"q": "purchase"}).status_code in (200, 503)
    assert tenant.api.get(f"/v1/events/{event_id}-nowhere").status_code == 404
    # A plan of one request a second.
    for part in range(3):
        assert limited.post("/v1/events", json=purchase(f"{event_id}-l{part}")).status_code in (202, 429)
