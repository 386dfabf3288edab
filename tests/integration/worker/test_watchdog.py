"""The watchdog on a real Redis, by itself and in workers."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import rq.cron
from redis import Redis
from rq_workers import RqWorker, push, stored

from common.services import open_services
from common.settings import load_settings
from common.wakeup import awake_key, job_queue
from worker import cron
from worker.cron import Watchdog

Until = Callable[..., Any]


@pytest.fixture
def watching(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Watchdog]]:
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


def test_the_watchdog_finds_work_that_nobody_was_woken_for(
    client: Redis, start: Callable[..., RqWorker], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    push(client, "e1")
    start("maintenance")
    start("ingest")

    until(lambda: stored(environment["DATABASE_URL"]) == 1)


def test_the_watchdog_has_the_database_kept_in_shape(
    start: Callable[..., RqWorker], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until, indexed_at)"
            " VALUES (1, 1, '{}', now(), now(), now() - interval '1 day')"
        )
        start("maintenance")

        until(lambda: connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,))
