"""The image's health check, beside the processes that it asks."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, start_http_server

CHECK = (sys.executable, "-m", "infrastructure.compose.healthcheck")


def is_healthy(**environment: str) -> bool:
    status = subprocess.run(CHECK, env={"PATH": os.environ["PATH"], **environment}, check=False).returncode
    assert status in {0, 1}
    return status == 0


class UnwillingCollector:
    """Figures that cannot be collected, as while a store is away."""

    def collect(self) -> Iterator[Any]:
        raise RuntimeError("the health check must not ask for figures")


def test_a_worker_that_serves_metrics_is_well_whatever_its_stores_are(unserved_port: int) -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(UnwillingCollector())
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        assert is_healthy(PORT=str(unserved_port), SSPP_WORKER_METRICS_PORT=str(server.server_port))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_api_that_answers_is_well_also_without_its_stores(
    free_port: int, unserved_port: int, until: Callable[..., Any]
) -> None:
    away = f"127.0.0.1:{unserved_port}"
    variables = {
        "PATH": os.environ["PATH"],
        "PORT": str(free_port),
        "DATABASE_URL": f"postgresql://sspp@{away}/sspp",
        "REDIS_URL": f"redis://{away}",
        "ELASTICSEARCH_URL": f"http://{away}",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "api"], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(
            lambda: is_healthy(PORT=str(free_port), SSPP_WORKER_METRICS_PORT=str(unserved_port)), timeout=60
        )
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("variable", ["PORT", "SSPP_WORKER_METRICS_PORT"])
def test_nobody_there_is_not_well(variable: str, unserved_port: int) -> None:
    assert not is_healthy(**{variable: str(unserved_port)})


def test_a_process_that_listens_nowhere_is_not_well() -> None:
    assert not is_healthy(SSPP_WORKER_METRICS_PORT="0")
