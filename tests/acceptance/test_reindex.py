"""`sspp reindex` on a running platform: interrupted, continued, and not noticed by those who search."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from patience import PATIENCE_SECONDS

Until = Callable[..., Any]
Purchase = Callable[..., dict[str, Any]]


@pytest.fixture
def tenant(own_platform: Any) -> Iterator[Any]:
    made = own_platform.new_tenant()
    with made.api:
        yield made


def found(api: httpx.Client) -> list[str]:
    """The ids of all events that search answers."""
    answer = api.get("/v1/search", params={"limit": 200})
    assert answer.status_code == 200, answer.text
    return sorted(item["event_id"] for item in answer.json()["items"])


def indices(platform: Any) -> dict[str, bool]:
    """The indices on the server, and whether each answers searches."""
    url = platform.environment["ELASTICSEARCH_URL"]
    answer = httpx.get(f"{url}/signals-*/_alias", timeout=30, trust_env=False)
    return {name: "signals" in about["aliases"] for name, about in answer.json().items()}


def interrupt(platform: Any, number: signal.Signals, *, generation: int, until: Until) -> tuple[int, str]:
    """Begin a rebuild and end it by a signal in the middle; returns its exit code and what it said."""
    rebuild = subprocess.Popen(
        [platform.program("sspp"), "reindex", "--rate", "1", "--restart"],
        env=platform.process_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    under_way = "SELECT 1 FROM search_indices WHERE rebuilding = %s AND copied > 0"
    until(lambda: platform.sql(under_way, generation))
    second = platform.sspp("reindex")
    assert (second.returncode, second.stdout) == (1, "")
    assert "another sspp reindex is running" in second.stderr
    rebuild.send_signal(number)
    _, said = rebuild.communicate(timeout=PATIENCE_SECONDS)
    return rebuild.returncode, said


def test_the_index_is_rebuilt_under_the_hands_of_those_who_search(
    own_platform: Any, tenant: Any, new_purchase: Purchase, until: Until
) -> None:
    sent: list[str] = []

    def send(count: int) -> None:
        events = [new_purchase(f"event-{len(sent) + n:03}") for n in range(count)]
        assert tenant.api.post("/v1/events", json=events).status_code == 202
        sent.extend(event["event_id"] for event in events)

    send(40)
    until(lambda: found(tenant.api) == sent)
    settled = set(sent)
    ((former, _),) = indices(own_platform).items()

    planned = own_platform.sspp("reindex", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert former in planned.stdout
    assert indices(own_platform) == {former: True}

    assert interrupt(own_platform, signal.SIGKILL, generation=2, until=until) == (-signal.SIGKILL, ANY)
    send(1)
    status, said = interrupt(own_platform, signal.SIGINT, generation=3, until=until)
    assert status == 130
    assert "continue with: sspp reindex" in said
    send(1)
    until(lambda: found(tenant.api) == sent)
    assert indices(own_platform)[former]

    done = threading.Event()

    def look() -> list[list[str]]:
        looks = []
        with own_platform.client(tenant.key) as api:
            while not done.wait(0.02):
                looks.append(found(api))
        return looks

    with ThreadPoolExecutor(2) as threads:
        looking = threads.submit(look)
        running = threads.submit(own_platform.sspp, "reindex")
        try:
            until(lambda: send(1) or running.done() or len(sent) >= 150)
            finished = running.result(timeout=120)
        finally:
            done.set()
        looks = looking.result()

    assert (finished.returncode, finished.stdout[:17]) == (0, "Rebuilt 1 month: "), finished.stderr
    assert finished.stderr.startswith(f"{former}-g3: ")
    until(lambda: found(tenant.api) == sent)
    assert indices(own_platform) == {f"{former}-g3": True}
    for answer in looks:
        assert len(answer) == len(set(answer))
        assert settled <= set(answer)
