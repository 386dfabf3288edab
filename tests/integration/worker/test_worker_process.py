"""`rq worker` as the documentation has it: no flags, only the environment."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from patience import PATIENCE_SECONDS
from redis import Redis
from rq_workers import RqWorker, idle, push, stored, storing_held_up, taken

from common.errors import SettingsError
from common.queue.streams import depth
from common.settings import load_settings
from common.wakeup import Waker, job_queue
from worker.jobs import drain


def test_a_woken_worker_stores_what_waits_and_wakes_the_index(
    client: Redis, start: Callable[..., RqWorker], environment: dict[str, str]
) -> None:
    push(client, "e1", "e2")
    Waker(client, liveness_seconds=5).wake("ingest")

    worker = start("--burst", "ingest", SSPP_DRAIN_LINGER_SECONDS="0.1")

    assert worker.wait(PATIENCE_SECONDS) == 0
    assert stored(environment["DATABASE_URL"]) == 2
    assert depth(client) == {}
    assert job_queue("index", client).count == 1


def test_jobs_are_json_and_their_lines_carry_worker_and_batch(
    client: Redis, start: Callable[..., RqWorker]
) -> None:
    push(client, "e1")
    Waker(client, liveness_seconds=5).wake("ingest")
    (job,) = job_queue("ingest", client).jobs
    assert json.loads(job.data) == ["worker.jobs.drain", None, ["ingest"], {}]

    worker = start("--burst", "ingest", SSPP_DRAIN_LINGER_SECONDS="0.1")
    worker.wait(PATIENCE_SECONDS)

    line = worker.logged("batch_stored")
    assert line
    assert line["batch_id"] == 1
    assert len({each["worker"] for each in worker.lines() if "worker" in each}) == 1


def test_the_log_shows_the_settings_and_no_password(
    environment: dict[str, str], start: Callable[..., RqWorker]
) -> None:
    url = environment["ELASTICSEARCH_URL"].replace("://", "://elastic:open-sesame@")
    worker = start("--burst", "index", ELASTICSEARCH_URL=url)
    worker.wait(PATIENCE_SECONDS)

    starting = worker.logged("worker_starting")
    assert starting
    assert starting["settings"]["SSPP_BATCH_EVENTS"] == 5000
    assert starting["settings"]["ELASTICSEARCH_URL"] == url.replace("open-sesame", "***")
    assert "open-sesame" not in worker.log_path.read_text()
    if password := psycopg.conninfo.conninfo_to_dict(environment["DATABASE_URL"]).get("password"):
        assert password not in worker.log_path.read_text()


def test_a_worker_serves_its_metrics_on_the_port_that_it_reports(
    start: Callable[..., RqWorker], until: Callable[..., Any]
) -> None:
    worker = start("ingest")
    served = until(lambda: worker.logged("metrics_served"))

    with urllib.request.urlopen(f"http://{served['host']}:{served['port']}/metrics") as answer:
        text = answer.read().decode()

    assert "sspp_events_stored_total" in text
    assert 'sspp_lane_depth_events{lane="sspp:ingest:0"}' in text
    assert "sspp_outbox_depth_signals" in text


def test_a_missing_setting_ends_the_worker_with_its_name(start: Callable[..., RqWorker]) -> None:
    worker = start("ingest", DATABASE_URL="", SSPP_BATCH_EVENTS="many")

    assert worker.wait(PATIENCE_SECONDS) != 0
    assert "SSPP_BATCH_EVENTS" in worker.log_path.read_text()


def test_a_database_that_was_not_migrated_ends_the_worker_with_advice(
    start: Callable[..., RqWorker], empty_database_url: str
) -> None:
    worker = start("ingest", DATABASE_URL=empty_database_url)

    assert worker.wait(PATIENCE_SECONDS) != 0
    assert "sspp migrate" in worker.log_path.read_text()


@pytest.mark.parametrize(
    "older", ["DROP TABLE index_marks", "ALTER TABLE outbox DROP COLUMN trace_context CASCADE"]
)
def test_a_database_of_an_older_release_ends_the_worker_with_advice(
    start: Callable[..., RqWorker], database_url: str, older: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(older)
    worker = start("index")

    assert worker.wait(PATIENCE_SECONDS) != 0
    assert "sspp migrate" in worker.log_path.read_text()


def test_a_worker_that_starts_while_postgresql_is_away_waits_for_it(
    start: Callable[..., RqWorker], until: Callable[..., Any]
) -> None:
    worker = start("ingest", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")

    until(lambda: worker.logged("dependency_away"))
    until(lambda: worker.logged("metrics_served"))
    assert worker.poll() is None


def test_a_job_that_takes_longer_than_rq_keeps_its_record_ends_like_any_other(
    client: Redis, start: Callable[..., RqWorker], until: Callable[..., Any], environment: dict[str, str]
) -> None:
    with storing_held_up(environment["DATABASE_URL"]):
        push(client, "e1")
        worker = start("ingest", SSPP_DRAIN_LINGER_SECONDS="0.1")
        until(lambda: taken(client) == 1)
        assert client.delete(*client.scan_iter("rq:execution:*")) == 1  # as it expires

    until(lambda: worker.logged("job_outlived_its_record"))
    until(lambda: idle(client))
    assert stored(environment["DATABASE_URL"]) == 1
    assert worker.count("job_outlived_its_record") == 1
    assert "Traceback" not in worker.log_path.read_text()
    assert client.keys("rq:failed:*") == []


def test_a_job_outside_of_our_worker_is_told_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match="RQ_WORKER_CLASS"):
        drain("ingest")


def test_settings_problems_name_every_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL"):
        monkeypatch.delenv(name, raising=False)
    load_settings.cache_clear()
    with pytest.raises(SettingsError, match=r"DATABASE_URL.*REDIS_URL.*ELASTICSEARCH_URL"):
        load_settings()
    load_settings.cache_clear()
