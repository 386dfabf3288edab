"""Passing failures of a real PostgreSQL: the batch stays queued and is tried again for as long as they last."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql
from structlog.testing import capture_logs

from common.database.connections import translated_errors
from common.drain import Drain
from common.errors import DatabaseUnavailableError
from common.queue.streams import depth, lane_of
from common.settings import load_settings
from common.wakeup import Waker
from worker.isolation import BatchFailedError

TENANT = 7

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


def events(count: int) -> list[bytes]:
    data = {"amount": "1.00", "currency": "USD"}
    return [
        json.dumps(
            {"event_id": f"e{number}", "event_type": "purchase", "customer_id": "c1", "data": data}
        ).encode()
        for number in range(count)
    ]


@pytest.fixture
def sessions(database_url: str) -> Iterator[tuple[Connection[Any], Connection[Any]]]:
    """Two sessions, each in a transaction, that see one row each other wants."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE probe (id int PRIMARY KEY, n int)")
        connection.execute("INSERT INTO probe VALUES (1, 0), (2, 0)")
    # Closed without the commit that leaving a connection's own context would try.
    one, other = psycopg.connect(database_url), psycopg.connect(database_url)
    yield one, other
    one.close()
    other.close()


def deadlock(one: Connection[Any], other: Connection[Any]) -> None:
    other.execute("SET deadlock_timeout = '1h'")  # so that it is `one` that is chosen
    one.execute("SET deadlock_timeout = '1ms'")
    one.execute("UPDATE probe SET n = 1 WHERE id = 1")
    other.execute("UPDATE probe SET n = 1 WHERE id = 2")
    waiting = threading.Thread(target=other.execute, args=("UPDATE probe SET n = 1 WHERE id = 1",))
    waiting.start()
    try:
        one.execute("UPDATE probe SET n = 1 WHERE id = 2")
    finally:
        one.rollback()
        waiting.join()


def serialization(one: Connection[Any], other: Connection[Any]) -> None:
    one.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    one.execute("SELECT FROM probe")
    other.execute("UPDATE probe SET n = 1 WHERE id = 1")
    other.commit()
    one.execute("UPDATE probe SET n = 2 WHERE id = 1")


def lock_timeout(one: Connection[Any], other: Connection[Any]) -> None:
    other.execute("SELECT FROM probe FOR UPDATE")
    one.execute("SET lock_timeout = '1ms'")
    one.execute("UPDATE probe SET n = 1")


def statement_timeout(one: Connection[Any], other: Connection[Any]) -> None:
    one.execute("SET statement_timeout = '1ms'")
    one.execute("SELECT pg_sleep(60)")


def terminated(one: Connection[Any], other: Connection[Any]) -> None:
    other.execute("SELECT pg_terminate_backend(%s)", (one.info.backend_pid,))
    one.execute("SELECT pg_sleep(60)")


def idle_in_transaction(one: Connection[Any], other: Connection[Any]) -> None:
    one.execute("SET idle_in_transaction_session_timeout = '1ms'")
    other.autocommit = True
    alive = "SELECT FROM pg_stat_activity WHERE pid = %s"
    while other.execute(alive, (one.info.backend_pid,)).fetchone() is not None:
        pass
    one.execute("SELECT 1")


def read_only(one: Connection[Any], other: Connection[Any]) -> None:
    one.execute("SET TRANSACTION READ ONLY")
    one.execute("UPDATE probe SET n = 1")


def no_such_server(one: Connection[Any], other: Connection[Any]) -> None:
    psycopg.connect("postgresql://127.0.0.1:1/x", connect_timeout=1)


@pytest.mark.parametrize(
    "failure",
    [
        deadlock,
        serialization,
        lock_timeout,
        statement_timeout,
        terminated,
        idle_in_transaction,
        read_only,
        no_such_server,
    ],
)
def test_a_passing_failure_is_told_as_such(
    sessions: tuple[Connection[Any], Connection[Any]],
    failure: Callable[[Connection[Any], Connection[Any]], None],
) -> None:
    with pytest.raises(DatabaseUnavailableError), translated_errors():
        failure(*sessions)


def test_whatever_passing_failure_it_is_the_batch_stays_queued_until_it_is_over(pipeline: Any) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute(FAULTY_KEYS)
        connection.execute("INSERT INTO fault VALUES (NULL)")
    pipeline.push(*events(3))
    stage = pipeline.stage()
    for code, expected in [
        *((code, DatabaseUnavailableError) for code in PASSING),
        *((code, BatchFailedError) for code in NOT_THE_CONTENT),
    ]:
        with pipeline.pool.connection() as connection:
            connection.execute("UPDATE fault SET sqlstate = %s", (code,))
        with pytest.raises(expected):
            stage.step(0)
        assert depth(pipeline.redis) == {lane_of(TENANT): 3}, code

    with pipeline.pool.connection() as connection:
        connection.execute("UPDATE fault SET sqlstate = NULL")
    assert stage.step(0) == 3

    assert pipeline.value("SELECT signal_count FROM customers") == 3
    assert pipeline.value("SELECT count(*) FROM rejected_events") == 0
    assert depth(pipeline.redis) == {}


def test_while_the_database_takes_no_connections_the_batch_stays_queued(
    pipeline: Any, postgres_server: str
) -> None:
    pipeline.push(*events(3))
    stage = pipeline.stage()
    with psycopg.connect(postgres_server, autocommit=True) as operator:
        name = pipeline.value("SELECT current_database()")
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        operator.execute(allow.format(sql.Identifier(name), sql.Literal(False)))
        operator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        with pytest.raises(DatabaseUnavailableError):
            stage.step(0)
        operator.execute(allow.format(sql.Identifier(name), sql.Literal(True)))

    assert depth(pipeline.redis) == {lane_of(TENANT): 3}
    assert _drain(pipeline, stage) == 3
    assert pipeline.value("SELECT count(*) FROM events") == 3


def test_a_drain_tries_again_until_the_failure_is_over(pipeline: Any) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute(FAIL_AT_FIRST)
    pipeline.push(*events(3))

    assert _drain(pipeline, pipeline.stage("me")) == 3

    failures = pipeline.metrics.registry.get_sample_value(
        "sspp_drain_errors_total", {"stage": "ingest", "code": "database_unavailable"}
    )
    assert failures == 4
    assert pipeline.value("SELECT count(*) FROM events") == 3


def test_a_fault_of_the_schema_raises_an_alarm_and_refuses_nothing(pipeline: Any) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute("ALTER TABLE customers RENAME COLUMN totals TO sums")
    pipeline.push(*events(3))
    labels = {"stage": "ingest", "code": "batch_failed"}

    def alarms() -> float:
        return pipeline.metrics.registry.get_sample_value("sspp_drain_errors_total", labels) or 0

    with capture_logs() as logs:
        _drain(pipeline, pipeline.stage("me"), stop=lambda: alarms() >= 3)

    told = [line for line in logs if line["event"] == "batch_failed"]
    assert [line["log_level"] for line in told] == ["error"] * 3
    assert depth(pipeline.redis) == {lane_of(TENANT): 3}
    assert pipeline.value("SELECT count(*) FROM rejected_events") == 0


def _drain(pipeline: Any, stage: Any, stop: Callable[[], bool] = lambda: False) -> int:
    return Drain(
        stage,
        name=stage._consumer.name,
        client=pipeline.redis,
        waker=Waker(pipeline.redis, liveness_seconds=30),
        metrics=pipeline.metrics,
        settings=load_settings().model_copy(update={"drain_linger_seconds": 0.05}),
        stop=stop,
    ).run()
