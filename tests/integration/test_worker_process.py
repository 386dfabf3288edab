"""`rq worker` as the documentation has it: no flags, only the environment."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis

from common.errors import SettingsError
from common.redis import open_redis
from common.streams import DEPTH_KEY, Record, depth, encode_entry, lane_of
from common.wakeup import Waker, awake_key, job_queue

RQ = Path(sys.executable).with_name("rq")
EVENT = {"event_type": "purchase", "customer_id": "c1", "data": {"amount": "1.00", "currency": "USD"}}


@pytest.fixture
def client(environment: dict[str, str]) -> Iterator[Redis]:
    with open_redis(environment["REDIS_URL"]) as client:
        yield client


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **changes: str) -> subprocess.Popen[str]:
        variables = {"PATH": os.environ["PATH"], "LOG_FORMAT": "json"} | environment | changes
        log = (tmp_path / f"worker-{len(running)}.log").open("w")
        worker = subprocess.Popen(
            [RQ, "worker", *arguments], env=variables, stdout=log, stderr=subprocess.STDOUT
        )
        worker.log_path = Path(log.name)  # type: ignore[attr-defined]
        log.close()
        running.append(worker)
        return worker

    yield start
    for worker in running:
        worker.kill()
        worker.wait()


def lines(worker: Any) -> list[dict[str, Any]]:
    found = [line for line in worker.log_path.read_text().splitlines() if line.startswith("{")]
    return [json.loads(line) for line in found]


def logged(worker: Any, event: str) -> dict[str, Any] | None:
    return next((line for line in lines(worker) if line["event"] == event), None)


def push(client: Redis, *ids: str) -> None:
    records = [
        Record(each, datetime.now(UTC), json.dumps(EVENT | {"event_id": each}).encode()) for each in ids
    ]
    client.xadd(lane_of(1), encode_entry(1, records))
    client.hincrby(DEPTH_KEY, lane_of(1), len(records))


def stored(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM events").fetchone()
    assert row
    return int(row[0])


def test_a_woken_worker_stores_what_waits_and_wakes_the_index(
    client: Redis, start: Callable[..., Any], environment: dict[str, str]
) -> None:
    push(client, "e1", "e2")
    Waker(client, liveness_seconds=5).wake("ingest")

    worker = start("--burst", "ingest", SSPP_DRAIN_LINGER_SECONDS="0.1")

    assert worker.wait(30) == 0
    assert stored(environment["DATABASE_URL"]) == 2
    assert depth(client) == {}
    assert job_queue("index", client).count == 1


def test_jobs_are_json_and_their_lines_carry_worker_and_batch(
    client: Redis, start: Callable[..., Any]
) -> None:
    push(client, "e1")
    Waker(client, liveness_seconds=5).wake("ingest")
    (job,) = job_queue("ingest", client).jobs
    assert json.loads(job.data) == ["worker.jobs.drain", None, ["ingest"], {}]

    worker = start("--burst", "ingest", SSPP_DRAIN_LINGER_SECONDS="0.1")
    worker.wait(30)

    line = logged(worker, "batch_stored")
    assert line
    assert line["batch_id"] == 1
    assert len({each["worker"] for each in lines(worker) if "worker" in each}) == 1


def test_the_log_shows_the_settings_and_no_password(
    environment: dict[str, str], start: Callable[..., Any]
) -> None:
    url = environment["ELASTICSEARCH_URL"].replace("://", "://elastic:open-sesame@")
    worker = start("--burst", "index", ELASTICSEARCH_URL=url)
    worker.wait(30)

    starting = logged(worker, "worker_starting")
    assert starting
    assert starting["settings"]["SSPP_BATCH_EVENTS"] == 2000
    assert starting["settings"]["ELASTICSEARCH_URL"] == url.replace("open-sesame", "***")
    assert "open-sesame" not in worker.log_path.read_text()
    if password := psycopg.conninfo.conninfo_to_dict(environment["DATABASE_URL"]).get("password"):
        assert password not in worker.log_path.read_text()


def test_a_worker_serves_its_metrics_on_the_port_that_it_reports(
    start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    worker = start("ingest")
    served = until(lambda: logged(worker, "metrics_served"), 30)

    with urllib.request.urlopen(f"http://{served['host']}:{served['port']}/metrics") as answer:
        text = answer.read().decode()

    assert "sspp_events_stored_total" in text
    assert 'sspp_lane_depth_events{lane="sspp:ingest:0"}' in text
    assert "sspp_outbox_depth_signals" in text


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_drain_cleanly_and_what_waits_stays_queued(
    client: Redis,
    start: Callable[..., Any],
    until: Callable[..., Any],
    sent: signal.Signals,
    environment: Any,
) -> None:
    push(client, "e1")
    Waker(client, liveness_seconds=5).wake("ingest")
    worker = start("ingest", SSPP_DRAIN_LINGER_SECONDS="600", SSPP_DRAIN_BUDGET_SECONDS="600")
    until(lambda: stored(environment["DATABASE_URL"]) == 1, 30)

    worker.send_signal(sent)

    assert worker.wait(20) == 0
    push(client, "e2")
    assert depth(client) == {lane_of(1): 1}
    assert not client.exists(awake_key("ingest"))


def test_what_a_killed_worker_had_taken_is_stored_by_another(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    push(client, "e1")
    # The batch cannot be stored while this lock is held: the first worker dies with it in hand.
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        connection.execute("LOCK TABLE event_keys IN SHARE MODE")
        Waker(client, liveness_seconds=1).wake("ingest")
        doomed = start("ingest", SSPP_LIVENESS_SECONDS="1")
        until(lambda: any(group["pending"] == 1 for group in client.xinfo_groups(lane_of(1))), 30)
        doomed.kill()
    start("ingest", SSPP_LIVENESS_SECONDS="1")
    start("maintenance", SSPP_LIVENESS_SECONDS="1")

    until(lambda: stored(environment["DATABASE_URL"]) == 1, 30)
    until(lambda: depth(client) == {}, 10)


def test_the_watchdog_finds_work_that_nobody_was_woken_for(
    client: Redis, start: Callable[..., Any], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    push(client, "e1")
    start("maintenance")
    start("ingest")

    until(lambda: stored(environment["DATABASE_URL"]) == 1, 30)


def test_the_watchdog_has_the_database_kept_in_shape(
    start: Callable[..., Any], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until, indexed_at)"
            " VALUES (1, 1, '{}', now(), now(), now() - interval '1 day')"
        )
        start("maintenance")

        until(lambda: connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,), 30)


def test_a_missing_setting_ends_the_worker_with_its_name(start: Callable[..., Any]) -> None:
    worker = start("ingest", DATABASE_URL="", SSPP_BATCH_EVENTS="many")

    assert worker.wait(30) != 0
    assert "SSPP_BATCH_EVENTS" in worker.log_path.read_text()


def test_a_database_that_was_not_migrated_ends_the_worker_with_advice(
    start: Callable[..., Any], empty_database_url: str
) -> None:
    worker = start("ingest", DATABASE_URL=empty_database_url)

    assert worker.wait(30) != 0
    assert "sspp migrate" in worker.log_path.read_text()


def test_a_worker_that_starts_while_postgresql_is_away_waits_for_it(
    start: Callable[..., Any], until: Callable[..., Any]
) -> None:
    worker = start("ingest", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")

    until(lambda: logged(worker, "dependency_away"), 30)
    until(lambda: logged(worker, "metrics_served"), 30)
    assert worker.poll() is None


def test_a_job_outside_of_our_worker_is_told_what_is_missing() -> None:
    from worker.jobs import drain

    with pytest.raises(RuntimeError, match="RQ_WORKER_CLASS"):
        drain("ingest")


def test_settings_problems_name_every_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    from common.settings import load_settings

    for name in ("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL"):
        monkeypatch.delenv(name, raising=False)
    load_settings.cache_clear()
    with pytest.raises(SettingsError, match=r"DATABASE_URL.*REDIS_URL.*ELASTICSEARCH_URL"):
        load_settings()
    load_settings.cache_clear()
