"""Who else is at work in the database: waiting for the transactions of others to end, and being the only one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

from common.database.ddl import Connection
from common.database.queries import Queries

_POLL_SECONDS = 0.02

_sql = Queries(__package__, "transactions.sql")


class RunningTransactions:
    """Those that have a number when this is made, as all have that have written something.

    Once they have ended, every transaction that got its number before can be seen, if it was committed; and every other
    sees what was committed before this was made, in all statements that follow the one that gave it its number. So
    nobody has to lock anything to be waited for.

    Args:
        connection: in autocommit mode, so that what it takes a number for ends at once.
        number: of an earlier one, to go on waiting for the same. What this server has not counted up to, as it is of
            another one whose backup this was, is no such number.

    Attributes:
        number: what all of them have a lower one than.
    """

    def __init__(self, connection: Connection, *, number: int | None = None) -> None:
        # Whoever got a number before has a lower one.
        own = _fetch_number(connection, _sql.take_number)
        self.number = own if number is None else min(number, own)

    def have_ended(self, connection: Connection, *, wait_seconds: float) -> bool:
        """Whether all of them have ended by now, or do so within `wait_seconds`."""
        deadline = time.monotonic() + wait_seconds
        while _fetch_number(connection, _sql.oldest_number) <= self.number:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True


@contextmanager
def session_lock(connection: Connection, lock_key: int) -> Iterator[bool]:
    """Whether this session has the advisory lock for as long as the context lasts; it does not wait for it."""
    row = connection.execute(_sql.try_lock, {"lock_key": lock_key}).fetchone()
    taken = row is not None and bool(row[0])
    try:
        yield taken
    finally:
        if taken and not connection.closed:
            connection.execute(_sql.unlock, {"lock_key": lock_key})


def _fetch_number(connection: Connection, query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
