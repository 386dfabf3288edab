"""The watchdog on a real Redis."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import rq.cron
from redis import Redis

from common.redis import open_redis
from common.services import open_services
from common.settings import load_settings
from common.wakeup import awake_key, job_queue
from worker import cron
from worker.cron import Watchdog

Until = Callable[..., Any]


@pytest.fixture
def client(environment: dict[str, str]) -> Iterator[Redis]:
    with open_redis(environment["REDIS_URL"]) as client:
        yield client


@pytest.fixture
def watching(client: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Watchdog]]:
    monkeypatch.setattr(cron, "WATCH_SECONDS", 0.05)
    with open_services(load_settings(), application="watchdog-test") as services:
        yield lambda *queues: Watchdog(services, queues)


def woken(client: Redis) -> set[str]:
    return {queue for queue in ("ingest", "index", "maintenance") if job_queue(queue, client).count}


def forget(client: Redis) -> None:
    """Lose all wake-ups, and the marks that say that somebody was woken."""
    client.delete(awake_key("ingest"), awake_key("index"))
    client.delete(job_queue("ingest", client).key, job_queue("index", client).key)


def test_each_worker_watches_its_own_stage(
    watching: Callable[..., Watchdog], client: Redis, until: Until
) -> None:
    with watching("ingest"):
        until(lambda: woken(client) == {"ingest"})
        forget(client)
        until(lambda: woken(client) == {"ingest"})


def test_a_maintenance_worker_watches_all_stages_and_has_the_stores_looked_after(
    watching: Callable[..., Watchdog], client: Redis, until: Until
) -> None:
    with watching("maintenance"):
        until(lambda: woken(client) == {"ingest", "index", "maintenance"})


def test_a_clock_that_is_set_back_does_not_silence_it(
    watching: Callable[..., Watchdog], client: Redis, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watching("ingest"):
        until(lambda: woken(client))
        monkeypatch.setattr(rq.cron, "now", lambda: datetime.now(UTC) - timedelta(hours=1))
        for _ in range(2):
            forget(client)
            until(lambda: woken(client))
