"""Passing failures of a real PostgreSQL: the batch stays queued and is tried again for as long as they last."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from ingest_pipeline import IngestPipeline as Pipeline
from ingesting import LANE, purchase, purchases
from psycopg import sql
from structlog.testing import capture_logs

from common.drain import Drain
from common.errors import DatabaseUnavailableError
from common.queue.streams import depth
from common.settings import load_settings
from common.wakeup import Waker
from worker.ingest.isolation import BatchFailedError
from worker.ingest.stage import IngestStage
from worker.store.batch import Store

PASSING = {
    "08006": "the connection failed",
    "25006": "the server is read-only: a standby, or a failover is under way",
    "25P03": "the session was idle in its transaction for too long",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "53100": "the disk is full",
    "53200": "out of memory",
    "53300": "too many connections",
    "55P03": "a lock was not to be had in time",
    "57014": "canceled, by statement_timeout for instance",
    "57P01": "an administrator shuts the server down",
    "57P02": "the server crashed",
    "57P03": "the server starts, stops or recovers",
    "58030": "an I/O error",
}
NOT_THE_CONTENT = {
    "42703": "a column is missing",
    "42P01": "a table is missing",
    "42501": "a right is missing",
    "0A000": "a feature is not supported",
    "XX000": "an internal error",
}

FAULTY_KEYS = """
CREATE TABLE fault (sqlstate text);
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE code text := (SELECT sqlstate FROM fault);
BEGIN
    IF code IS NOT NULL THEN RAISE EXCEPTION 'a fault that was asked for' USING ERRCODE = code; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON event_keys FOR EACH ROW EXECUTE FUNCTION fail();
"""
FAIL_AT_FIRST = """
CREATE SEQUENCE attempts;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A sequence goes on counting whatever is rolled back.
    IF nextval('attempts') <= 4 THEN RAISE EXCEPTION 'not yet' USING ERRCODE = '40P01'; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER fail AFTER INSERT ON event_keys EXECUTE FUNCTION fail();
"""


def test_while_postgresql_is_away_the_batch_is_kept_and_stored_afterwards(pipeline: Pipeline) -> None:
    class AwayOnce(Store):
        away = True

        def write(self, *arguments: Any) -> Any:
            if self.away:
                self.away = False
                raise DatabaseUnavailableError
            return super().write(*arguments)

    pipeline.push(purchase("e1"))
    stage = pipeline.stage(store=AwayOnce(pipeline.pool))

    with pytest.raises(DatabaseUnavailableError):
        stage.step(0)
    assert depth(pipeline.redis) == {LANE: 1}
    assert stage.step(0) == 1
    assert pipeline.value("SELECT count(*) FROM events") == 1


def test_whatever_passing_failure_it_is_the_batch_stays_queued_until_it_is_over(pipeline: Pipeline) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute(FAULTY_KEYS)
        connection.execute("INSERT INTO fault VALUES (NULL)")
    pipeline.push(*purchases(3))
    stage = pipeline.stage()
    for code, expected in [
        *((code, DatabaseUnavailableError) for code in PASSING),
        *((code, BatchFailedError) for code in NOT_THE_CONTENT),
    ]:
        with pipeline.pool.connection() as connection:
            connection.execute("UPDATE fault SET sqlstate = %s", (code,))
        with pytest.raises(expected):
            stage.step(0)
        assert depth(pipeline.redis) == {LANE: 3}, code

    with pipeline.pool.connection() as connection:
        connection.execute("UPDATE fault SET sqlstate = NULL")
    assert stage.step(0) == 3

    assert pipeline.value("SELECT signal_count FROM customers") == 3
    assert pipeline.value("SELECT count(*) FROM rejected_events") == 0
    assert depth(pipeline.redis) == {}


def test_while_the_database_takes_no_connections_the_batch_stays_queued(
    pipeline: Pipeline, postgres_server: str
) -> None:
    pipeline.push(*purchases(3))
    stage = pipeline.stage()
    with psycopg.connect(postgres_server, autocommit=True) as operator:
        name = pipeline.value("SELECT current_database()")
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        operator.execute(allow.format(sql.Identifier(name), sql.Literal(False)))
        operator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        with pytest.raises(DatabaseUnavailableError):
            stage.step(0)
        operator.execute(allow.format(sql.Identifier(name), sql.Literal(True)))

    assert depth(pipeline.redis) == {LANE: 3}
    assert run_drain(pipeline, stage) == 3
    assert pipeline.value("SELECT count(*) FROM events") == 3


def test_a_drain_tries_again_until_the_failure_is_over(pipeline: Pipeline) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute(FAIL_AT_FIRST)
    pipeline.push(*purchases(3))

    assert run_drain(pipeline, pipeline.stage("me")) == 3

    failures = pipeline.metrics.registry.get_sample_value(
        "sspp_drain_errors_total", {"stage": "ingest", "code": "database_unavailable"}
    )
    assert failures == 4
    assert pipeline.value("SELECT count(*) FROM events") == 3


def test_a_fault_of_the_schema_raises_an_alarm_and_refuses_nothing(pipeline: Pipeline) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute("ALTER TABLE customers RENAME COLUMN totals TO sums")
    pipeline.push(*purchases(3))
    labels = {"stage": "ingest", "code": "batch_failed"}

    def alarms() -> float:
        return pipeline.metrics.registry.get_sample_value("sspp_drain_errors_total", labels) or 0

    with capture_logs() as logs:
        run_drain(pipeline, pipeline.stage("me"), stop=lambda: alarms() >= 3)

    told = [line for line in logs if line["event"] == "batch_failed"]
    assert [line["log_level"] for line in told] == ["error"] * 3
    assert depth(pipeline.redis) == {LANE: 3}
    assert pipeline.value("SELECT count(*) FROM rejected_events") == 0


def run_drain(pipeline: Pipeline, stage: IngestStage, stop: Callable[[], bool] = lambda: False) -> int:
    return Drain(
        stage,
        name=stage._consumer.name,
        client=pipeline.redis,
        waker=Waker(pipeline.redis, liveness_seconds=30),
        metrics=pipeline.metrics,
        settings=load_settings().model_copy(update={"drain_linger_seconds": 0.05}),
        stop=stop,
    ).run()
