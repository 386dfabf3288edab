"""Whoever deletes waits for those that may not have seen why: none of them is missed, and nobody else is waited for."""

import psycopg

from common.database.transactions import RunningTransactions

TAKE_NUMBER = "SELECT pg_current_xact_id()"


def test_one_that_runs_is_waited_for(connection: psycopg.Connection, database_url: str) -> None:
    with psycopg.connect(database_url) as other:
        other.execute(TAKE_NUMBER)
        running = RunningTransactions(connection)
        assert not running.have_ended(connection, wait_seconds=0)

    assert running.have_ended(connection, wait_seconds=10)


def test_one_with_a_higher_number_than_all_that_have_ended_is_waited_for(
    connection: psycopg.Connection, database_url: str
) -> None:
    """A snapshot says that what comes next is the number after the highest that has ended: lower than this one's."""
    with psycopg.connect(database_url) as tombstone, psycopg.connect(database_url) as batch:
        tombstone.execute(TAKE_NUMBER)
        batch.execute(TAKE_NUMBER)
        tombstone.commit()
        running = RunningTransactions(connection)
        assert not running.have_ended(connection, wait_seconds=0)
        batch.rollback()

    assert running.have_ended(connection, wait_seconds=10)


def test_one_that_begins_later_is_not(connection: psycopg.Connection, database_url: str) -> None:
    running = RunningTransactions(connection)
    with psycopg.connect(database_url) as other:
        other.execute(TAKE_NUMBER)
        assert running.have_ended(connection, wait_seconds=10)
