"""Monthly partitions of events, signals and the log of API calls: made ahead, dropped when they expire.

A partition is named after its table and its month in UTC, ``events_2026_11``; all are partitioned by received_at. The
functions take a connection outside of any transaction, commit step by step and may be killed at any point: the next run
carries on. Several may run at once.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

import psycopg

from common.database.ddl import Connection, autocommit, format_ddl
from common.database.queries import Queries
from common.errors import DatabaseUnavailableError

TABLES = ("events", "signals", "api_logs")

# A constant of our own among the database's advisory locks.
_PARTITION_LOCK = 0x53535050_0002

# A waiting DDL statement makes everyone queue up behind it: give up soon, let them pass, try again.
_LOCK_TIMEOUT = "1s"
_ATTEMPTS = 20
_CONTENTION = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.CheckViolation,  # a row of the month reached DEFAULT just before its partition was attached
)
_DELETE_BATCH = 20_000

# What goes with the expired events, and the column that tells its age. DEFAULT only ever holds strays.
_EXPIRING = (
    ("event_keys", "received_at"),
    ("events_default", "received_at"),
    ("signals_default", "received_at"),
    ("api_logs_default", "received_at"),
    ("rejected_events", "received_at"),
    ("schema_violations", "last_at"),
    ("index_failures", "failed_at"),
    ("search_indices", "month"),
    ("index_marks", "received_from"),
)

_MONTH = re.compile(r"_(\d{4})_(\d{2})$")

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_sql = Queries(__package__, "partitions.sql")


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: of `table`, with the instants it spans (UTC, end excluded; None for DEFAULT).

    `row_estimate` is the planner's, None where PostgreSQL has not counted yet; `size_bytes` includes the indexes.
    """

    table: str
    name: str
    starts: datetime | None
    ends: datetime | None
    row_estimate: int | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Expired:
    """What `drop_expired` removed: whole partitions by name, and rows by table."""

    partitions: list[str]
    rows: dict[str, int]


def month_start(instant: datetime, offset: int = 0) -> datetime:
    """The first instant of the month, in UTC, that lies `offset` months after that of `instant`."""
    at = instant.astimezone(UTC)
    years, month = divmod(at.month - 1 + offset, 12)
    return datetime(at.year + years, month + 1, 1, tzinfo=UTC)


def ensure_partitions(connection: Connection, *, now: datetime, ahead: int) -> list[str]:
    """Make the partitions from the month before `now` to `ahead` months after it; returns the new names.

    When all exist, it only reads. Rows that DEFAULT holds, of whatever month, move to their month's partition
    in the transaction that makes it: DEFAULT is empty afterwards. A table of the right name that somebody
    detached is left alone.

    Raises:
        DatabaseUnavailableError: others kept the tables locked; run again later.
    """
    with autocommit(connection):
        return [
            _name(table, month)
            for table, month in missing_partitions(connection, now=now, ahead=ahead)
            if _retried(_create, connection, table, month, now)
        ]


def missing_partitions(
    connection: Connection, *, now: datetime, ahead: int
) -> Iterator[tuple[str, datetime]]:
    """Tables and months of the partitions that `ensure_partitions` would make at this moment."""
    for table in TABLES:
        months = {month_start(now, offset) for offset in range(-1, ahead + 1)}
        for month in sorted(months | _default_months(connection, table)):
            if not _exists(connection, _name(table, month)):
                yield table, month


def list_partitions(connection: Connection) -> list[Partition]:
    """All partitions of these tables, by table and name."""
    rows = connection.execute(_sql.list_partitions, {"tables": list(TABLES)}).fetchall()
    return [
        Partition(table, name, starts, starts and month_start(starts, 1), row_estimate, size_bytes)
        for table, name, row_estimate, size_bytes in rows
        for starts in (_month_of(name),)
    ]


def default_rows(connection: Connection) -> dict[str, int]:
    """How many rows each table's DEFAULT partition holds. Anything but zero calls for `ensure_partitions`."""
    counts = {}
    for table in TABLES:
        row = connection.execute(
            format_ddl(_sql.count_default_rows, default_table=f"{table}_default")
        ).fetchone()
        counts[table] = row[0] if row else 0
    return counts


def drop_expired(connection: Connection, *, now: datetime, retention_months: int) -> Expired:
    """Drop what is older than `retention_months` full months before the current one; 0 keeps everything.

    Partitions go first and whole, then, in short transactions, the identities of their events, what DEFAULT
    and the refusals hold of that age. Until its identity is gone, an expired event sent again is a duplicate.

    Raises:
        DatabaseUnavailableError: others kept the tables locked; run again later.
    """
    expired = Expired([], {})
    if retention_months == 0:
        return expired
    cutoff = month_start(now, -retention_months)
    with autocommit(connection):
        for partition in partitions_before(connection, cutoff):
            drop_partition(connection, partition)
            expired.partitions.append(partition.name)
        expired.rows.update(delete_expired_rows(connection, cutoff))
    return expired


def partitions_before(connection: Connection, cutoff: datetime) -> list[Partition]:
    """The partitions of months that ended at or before `cutoff`."""
    return [
        partition
        for partition in list_partitions(connection)
        if partition.ends is not None and partition.ends <= cutoff
    ]


def kept_since(connection: Connection, cutoff: datetime) -> datetime:
    """From when on there are partitions of events and signals that retention up to `cutoff` leaves, or has yet to take.

    That is `cutoff`, unless older ones are there still.
    """
    with autocommit(connection):
        older = [each.starts for each in partitions_before(connection, cutoff) if each.table != "api_logs"]
    return min((starts for starts in older if starts), default=cutoff)


def drop_partition(
    connection: Connection, partition: Partition, *, check: Callable[[], object] | None = None
) -> None:
    """Drop it, or leave it as it is; readers and writers of its table wait for a second at most.

    Args:
        connection: outside of any transaction.
        partition: to be dropped; that it is gone already is no error.
        check: is called in the transaction that drops it, once nobody can change its rows any more, by as many times
            as it takes to get all locks. What it raises keeps the partition.

    Raises:
        DatabaseUnavailableError: others kept the tables locked; run again later.
    """
    with autocommit(connection):
        _retried(_drop, connection, partition.name, check)


def delete_expired_rows(
    connection: Connection, cutoff: datetime, *, with_default: bool = True
) -> dict[str, int]:
    """Delete what belongs to events of before `cutoff` whose partitions are gone, some at a time.

    Identities among it: they must not go before their events. Returns how many rows of each table.

    Args:
        connection: outside of any transaction.
        cutoff: the end of the newest month that was dropped.
        with_default: whether rows of that age go from the DEFAULT partitions, too.
    """
    with autocommit(connection):
        return {
            table: _delete_expired(connection, table, instant, cutoff)
            for table, instant in _EXPIRING
            if with_default or not table.endswith("_default")
        }


def _name(table: str, month: datetime) -> str:
    return f"{table}_{month:%Y_%m}"


def _month_of(name: str) -> datetime | None:
    match = _MONTH.search(name)
    return datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC) if match else None


def _exists(connection: Connection, name: str) -> bool:
    return connection.execute(_sql.find_table, {"name": name}).fetchone() is not None


def _default_months(connection: Connection, table: str) -> set[datetime]:
    rows = connection.execute(format_ddl(_sql.list_default_months, default_table=f"{table}_default"))
    return {month.astimezone(UTC) for (month,) in rows}


def _create(connection: Connection, table: str, month: datetime, now: datetime) -> bool:
    """Make one partition; False if another process was faster."""
    name, default = _name(table, month), f"{table}_default"
    bounds = {"starts": month, "ends": month_start(month, 1)}
    with connection.transaction():
        connection.execute(_sql.set_lock_timeout, {"timeout": _LOCK_TIMEOUT, "local": True})
        connection.execute(_sql.lock_partitioning, {"lock_key": _PARTITION_LOCK})
        if _exists(connection, name):
            return False
        strays = connection.execute(
            format_ddl(_sql.find_default_rows, default_table=default, **bounds)
        ).fetchone()
        if month <= now or strays:
            # Writers send rows of this month to DEFAULT right now, and would fail if the month moved away under
            # them: this is the one case in which they have to wait. A month to come is attached beside them.
            connection.execute(format_ddl(_sql.lock_writers, table=table))
        connection.execute(format_ddl(_sql.create_partition, name=name, table=table))
        connection.execute(format_ddl(_sql.move_default_rows, default_table=default, name=name, **bounds))
        connection.execute(format_ddl(_sql.seal_partition, name=name))
        connection.execute(format_ddl(_sql.attach_partition, table=table, name=name, **bounds))
    return True


def _drop(connection: Connection, name: str, check: Callable[[], object] | None) -> None:
    # Beside a DEFAULT partition there is no DETACH ... CONCURRENTLY; the parent's lock is kept short.
    with connection.transaction():
        connection.execute(_sql.set_lock_timeout, {"timeout": _LOCK_TIMEOUT, "local": True})
        if check and _exists(connection, name):
            connection.execute(format_ddl(_sql.keep_rows_as_they_are, name=name))
            check()
        connection.execute(format_ddl(_sql.drop_partition, name=name))


def _delete_expired(connection: Connection, table: str, instant: str, cutoff: datetime) -> int:
    statement = format_ddl(_sql.delete_expired, table=table, instant=instant)
    deleted = 0
    while count := connection.execute(statement, {"cutoff": cutoff, "batch": _DELETE_BATCH}).rowcount:
        deleted += count
    return deleted


def _retried(
    step: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Result:
    """Run `step`, again and again if it does not get its locks."""
    for _ in range(_ATTEMPTS):
        try:
            return step(*args, **kwargs)
        except _CONTENTION:
            time.sleep(random.uniform(0.05, 0.5))  # noqa: S311  # apart from other processes, nothing secret
    raise DatabaseUnavailableError(
        f"the partitioned tables stayed locked through {_ATTEMPTS} attempts; look for long transactions"
    )
