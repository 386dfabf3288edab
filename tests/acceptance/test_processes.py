"""Processes come, go and die; what was acknowledged is stored, exactly once."""

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx
import pytest

Until = Callable[..., Any]
New = Callable[..., dict[str, Any]]

# Far more than it takes: what a dead worker had taken is free after five seconds.
DEADLINE_SECONDS = 90

# A load that a busy machine keeps up with, so that the tests need not wait for a backlog.
_FEED_EVENTS, _FEED_PAUSE_SECONDS = 100, 0.05

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def own_tenant(disrupted_platform: Any) -> Any:
    """A tenant of this test's own, whose events are counted to the last."""
    tenant = disrupted_platform.new_tenant()
    with tenant.api:
        yield tenant


class Feed:
    """Sends purchases from a thread of its own, steadily, and remembers which were acknowledged."""

    def __init__(self, client: httpx.Client, new_purchase: New) -> None:
        self.acknowledged: list[str] = []
        self._client = client
        self._new = new_purchase
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(_FEED_PAUSE_SECONDS):
            events = [self._new(str(uuid4()), f"c-{number % 97}") for number in range(_FEED_EVENTS)]
            answer = self._client.post("/v1/events", json=events)
            if answer.status_code == 202:
                self.acknowledged += answer.json()["event_ids"]


def assert_all_stored_once(platform: Any, tenant: Any, sent: list[str], until: Until) -> None:
    def stored_count() -> int:
        ((count,),) = platform.sql("SELECT count(*) FROM events WHERE tenant_id = %s", tenant.tenant_id)
        return int(count)

    until(lambda: stored_count() >= len(sent), timeout=DEADLINE_SECONDS)
    kept = platform.stored(tenant)
    assert kept["ids"] == sorted(sent)
    assert (kept["signals"], kept["counted"]) == (len(sent), len(sent))
    assert kept["amount"] == len(sent) * Decimal("1.50")


@contextmanager
def worker(platform: Any, queue: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A worker as a person starts it who read the environment file; with its log."""
    log = folder / f"{queue}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [platform.program("rq"), "worker", queue],
            env=platform.process_environment(LOG_FORMAT="json"),
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def metric(page: str, name: str) -> float:
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.split()[0] == name)


def metrics_url(process: subprocess.Popen[bytes], log: Path, until: Until) -> str:
    """Where a worker serves its metrics, which it does when it begins to work."""

    def served() -> dict[str, Any] | None:
        assert process.poll() is None, log.read_text()
        lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
        return next((line for line in lines if line["event"] == "metrics_served"), None)

    address = until(served, timeout=DEADLINE_SECONDS)
    return f"http://{address['host']}:{address['port']}/metrics"


def test_workers_started_by_hand_join_and_leave_in_good_order_under_load(
    disrupted_platform: Any, own_tenant: Any, new_purchase: New, until: Until, tmp_path: Path
) -> None:
    platform = disrupted_platform
    with (
        worker(platform, "ingest", tmp_path) as (ingest, ingest_log),
        worker(platform, "index", tmp_path) as (index, index_log),
    ):
        url = metrics_url(ingest, ingest_log, until)
        metrics_url(index, index_log, until)
        # The others leave for a moment, so the next wake-up is ours.
        for colleague in ("worker-ingest-1", "worker-ingest-2"):
            platform.signal(colleague, signal.SIGTERM)
        with Feed(own_tenant.api, new_purchase) as feed:
            until(
                lambda: metric(httpx.get(url, trust_env=False).text, "sspp_events_stored_total") > 0,
                timeout=DEADLINE_SECONDS,
            )
            for process, log in ((ingest, ingest_log), (index, index_log)):
                process.send_signal(signal.SIGTERM)
                assert process.wait(DEADLINE_SECONDS) == 0, log.read_text()
    assert_all_stored_once(platform, own_tenant, feed.acknowledged, until)


def test_a_worker_killed_in_the_middle_of_a_load_loses_and_doubles_nothing(
    disrupted_platform: Any, own_tenant: Any, new_purchase: New, until: Until
) -> None:
    platform = disrupted_platform

    def stored() -> int:
        ((count,),) = platform.sql("SELECT count(*) FROM events WHERE tenant_id = %s", own_tenant.tenant_id)
        return int(count)

    with Feed(own_tenant.api, new_purchase) as feed:
        for victim in ("worker-ingest-1", "worker-ingest-2"):
            before = stored()
            until(lambda before=before: stored() > before, timeout=DEADLINE_SECONDS)
            dead = platform.signal(victim, signal.SIGKILL)
            until(lambda dead=dead, victim=victim: platform.pid(victim) != dead, timeout=DEADLINE_SECONDS)
    assert_all_stored_once(platform, own_tenant, feed.acknowledged, until)


@pytest.mark.parametrize("victim", ["api", "worker-index", "valkey"])
def test_whatever_is_killed_comes_back_and_events_go_all_the_way_again(
    disrupted_platform: Any, tenant: Any, new_purchase: New, until: Until, victim: str
) -> None:
    platform, api = disrupted_platform, tenant.api
    before, after = (f"{victim}-{uuid4()}" for _ in range(2))
    assert api.post("/v1/events", json=new_purchase(before)).status_code == 202

    dead = platform.signal(victim, signal.SIGKILL)
    until(lambda: platform.pid(victim) != dead, timeout=DEADLINE_SECONDS)

    def accepted() -> bool:
        try:
            answer = api.post("/v1/events", json=new_purchase(after))
        except httpx.TransportError:
            return False
        assert answer.status_code in {202, 503}, answer.text
        assert answer.status_code == 202 or answer.headers["retry-after"]
        return answer.status_code == 202

    def status(event_id: str) -> str:
        return str(api.get(f"/v1/events/{event_id}").json().get("status"))

    until(accepted, timeout=DEADLINE_SECONDS)
    until(lambda: status(before) == status(after) == "indexed", timeout=DEADLINE_SECONDS)
    ((signals,),) = platform.sql(
        "SELECT count(*) FROM signals WHERE tenant_id = %s AND event_id = ANY (%s)",
        tenant.tenant_id,
        [before, after],
    )
    assert signals == 2


def test_without_search_everything_else_goes_on(
    disrupted_platform: Any, tenant: Any, new_purchase: New, until: Until
) -> None:
    platform, api = disrupted_platform, tenant.api
    event_id, customer = f"unseen-{uuid4()}", f"c-{uuid4()}"
    # Stopped rather than killed, as it would be started again at once.
    platform.signal("search", signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as beside:
            searched = beside.submit(api.get, "/v1/search", params={"q": event_id})
            assert api.post("/v1/events", json=new_purchase(event_id, customer)).status_code == 202
            until(lambda: api.get(f"/v1/events/{event_id}").status_code == 200, timeout=DEADLINE_SECONDS)
            assert api.get(f"/v1/events/{event_id}").json()["status"] == "stored"
            assert api.get(f"/v1/customers/{customer}").json()["totals"] == {"USD": "1.50"}
            assert len(api.get("/v1/signals", params={"customer_id": customer}).json()["items"]) == 1
            ready = api.get("/readyz")
            assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
            assert ready.json()["dependencies"]["elasticsearch"]["status"] == "error"
            answer = searched.result()
        assert (answer.status_code, answer.json()["code"]) == (503, "search_unavailable")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"]
    finally:
        platform.signal("search", signal.SIGCONT)

    until(lambda: found(api, event_id) == 1, timeout=DEADLINE_SECONDS)
    assert api.get(f"/v1/events/{event_id}").json()["status"] == "indexed"


def found(api: httpx.Client, words: str) -> int:
    """How many signals a search finds; 0 while it is away."""
    answer = api.get("/v1/search", params={"q": words})
    return int(answer.json()["total"]) if answer.is_success else 0
