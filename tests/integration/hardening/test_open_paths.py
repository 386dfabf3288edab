"""What anybody may ask without a key costs the stores, and those who serve events, next to nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import prometheus_client
import pytest
from patience import PATIENCE_SECONDS


def test_however_many_scrape_the_metrics_are_written_down_once_and_by_a_thread_of_their_own(
    environment: dict[str, str], api_serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, all_wait = [], threading.Event()

    def generate(registry: Any) -> bytes:
        threads.append(threading.current_thread().name)
        assert all_wait.wait(PATIENCE_SECONDS)
        return prometheus_client.generate_latest(registry)

    monkeypatch.setattr("api.health.scraping.generate_latest", generate)
    with api_serving(environment) as client, ThreadPoolExecutor(8) as visitors:
        asked = [visitors.submit(client.get, "/metrics") for _ in range(8)]
        # It answers others meanwhile.
        assert client.get("/healthz").status_code == 200
        all_wait.set()
        answers = [each.result() for each in asked]

    assert {answer.status_code for answer in answers} == {200}
    assert len(threads) < len(answers)
    assert {name.partition("_")[0] for name in threads} == {"scraping"}


def test_however_many_ask_whether_it_is_ready_the_stores_are_asked_once(
    environment: dict[str, str], api_serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api_serving(environment) as client:
        first = client.get("/readyz")
        assert first.json()["status"] == "ready"

        answers = [client.get("/readyz") for _ in range(20)]

    # Each look at the stores takes times of its own.
    assert len({answer.text for answer in answers}) < len(answers)
    assert {answer.status_code for answer in answers} == {200}
