"""Passing failures of a real PostgreSQL are told from all others."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from common.database.connections import translated_errors
from common.errors import DatabaseUnavailableError


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
