"""The indexes on signals' data, built once a month is over: a GIN index on the hot partition slows every batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from common.database.ddl import Connection, autocommit, format_ddl
from common.database.partitions import list_partitions
from common.database.queries import Queries

# A constant of our own among the database's advisory locks.
_INDEX_LOCK = 0x53535050_0003
# Building an index without blocking means waiting for old transactions; nobody queues up behind that.
_INDEX_LOCK_TIMEOUT = "10min"

_sql = Queries("common.database", "data_indexes.sql")


def build_closed_month_indexes(
    connection: Connection, now: datetime, *, stop: Callable[[], bool] = lambda: False
) -> list[str]:
    """Build the GIN index on `data` for each month of signals that is over; returns the new names.

    Does not block writers. What a killed run left behind, an invalid index, is removed and built anew. Only
    one run works at a time; any other returns at once. `stop` is asked before each index.
    """
    built: list[str] = []
    with autocommit(connection), _index_lock(connection) as taken:
        for partition in list_partitions(connection) if taken else ():
            if stop():
                break
            if partition.table != "signals" or partition.ends is None or partition.ends > now:
                continue
            index = f"{partition.name}_data_gin"
            valid = connection.execute(_sql.find_index, {"name": index}).fetchone()
            if valid is not None and valid[0]:
                continue
            if valid is not None:
                connection.execute(format_ddl(_sql.drop_index, name=index))
            connection.execute(format_ddl(_sql.create_data_index, name=index, table=partition.name))
            built.append(index)
    return built


@contextmanager
def _index_lock(connection: Connection) -> Iterator[bool]:
    """Whether this session may build: two at once would take each other's unfinished work for leftovers."""
    row = connection.execute(_sql.try_index_lock, {"lock_key": _INDEX_LOCK}).fetchone()
    taken = row is not None and bool(row[0])
    connection.execute(_sql.set_lock_timeout, {"timeout": _INDEX_LOCK_TIMEOUT, "local": False})
    try:
        yield taken
    finally:
        if not connection.closed:
            connection.execute(_sql.reset_lock_timeout)
        if taken and not connection.closed:
            connection.execute(_sql.release_index_lock, {"lock_key": _INDEX_LOCK})
