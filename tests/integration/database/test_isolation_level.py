"""Each statement of ours sees what is committed by then: erasures rely on it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest

from common.database.connections import open_pool
from infrastructure.database.connections import connect


@contextmanager
def worker(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with open_pool(database_url, application="test") as pool, pool.connection() as connection:
        yield connection


@pytest.mark.parametrize("session", [worker, connect])
def test_sessions_read_what_is_committed_whatever_the_database_has_for_a_default(
    session: Callable[[str], AbstractContextManager[psycopg.Connection[Any]]], database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = psycopg.sql.Identifier(connection.info.dbname)
        connection.execute(
            psycopg.sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = 'serializable'").format(
                name
            )
        )

    with session(database_url) as connection:
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
