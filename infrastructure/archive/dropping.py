"""Dropping months: what may go, archived first if there is a store, and what then goes with them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from common.database.ddl import Connection, format_ddl
from common.database.partitions import (
    Partition,
    delete_expired_rows,
    drop_partition,
    ensure_partitions,
    month_start,
    partitions_before,
)
from common.database.queries import Queries
from common.database.transactions import session_lock
from infrastructure.archive.errors import ArchiveError, PartitionChangedError, UnexpiredDataError
from infrastructure.archive.keeping import Keeper
from infrastructure.archive.manifest import Archive

# A constant of our own among the database's advisory locks.
_ARCHIVE_LOCK = 0x53535050_0007

# Rows come and go while a partition is archived: late events, erasures. It is archived anew, and soon is as it was.
_ATTEMPTS = 3

_sql = Queries(__package__, "archive.sql")


@dataclass(slots=True)
class Dropped:
    """What was dropped: partitions by name, each with its archive if it has one; and rows, by table."""

    partitions: dict[str, Archive | None] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)


def require_expired(
    connection: Connection,
    partitions: Sequence[Partition],
    *,
    now: datetime,
    retention_months: int = 0,
) -> None:
    """Make sure that nothing in `partitions` is still to be kept, by anybody's retention.

    Args:
        connection: of a role that sees all rows.
        partitions: that are to be dropped.
        now: as the clock has it.
        retention_months: full months that the platform keeps; 0 if it leaves that to whoever drops.

    Raises:
        UnexpiredDataError: names what is kept, and by whom.
    """
    kept_from = month_start(now, -retention_months) if retention_months else None
    for partition in partitions:
        assert partition.ends is not None
        if kept_from and partition.ends > kept_from:
            raise UnexpiredDataError(
                f"{partition.name} is kept: SSPP_RETENTION_MONTHS={retention_months}. "
                "Nothing was dropped; --force drops it all the same"
            )
        tenants = connection.execute(
            _sql.list_keeping_tenants, {"ends": partition.ends, "now": now}
        ).fetchall()
        for tenant_id, slug, days in tenants:
            holds = format_ddl(_sql.holds_rows_of_tenant, table=partition.name)
            found = connection.execute(holds, {"tenant_id": tenant_id}).fetchone()
            if found and found[0]:
                raise UnexpiredDataError(
                    f"{partition.name} holds rows of {slug}, which keeps its events for {days} days. "
                    "Nothing was dropped; --force drops it all the same"
                )


def drop_months(
    connection: Connection,
    dropped: Dropped,
    *,
    now: datetime,
    cutoff: datetime,
    keeper: Keeper | None = None,
) -> None:
    """Drop the partitions of months that ended at or before `cutoff`, then what belongs to their events.

    With a `keeper` each is archived, read back, and dropped only if it still holds what its archive does. May be killed
    at any point, and run again: what is archived is not archived twice, and identities go only when all partitions of
    their time are gone.

    Args:
        connection: of the tables' owner, outside of any transaction.
        dropped: is told what was dropped as it goes, so it knows that also if this fails.
        now: as the clock has it.
        cutoff: the first instant of a month.
        keeper: archives; None drops without.

    Raises:
        ArchiveError, UnusableBackupError, StoreError: a partition could not be archived; it and all later ones stay.
        DatabaseUnavailableError: others kept the tables locked; run again later.
    """
    if keeper is None:
        for partition in partitions_before(connection, cutoff):
            drop_partition(connection, partition)
            dropped.partitions[partition.name] = None
        dropped.rows = delete_expired_rows(connection, cutoff)
        return
    with archiving_alone(connection):
        # What DEFAULT holds of those months is to be archived, too.
        ensure_partitions(connection, now=now, ahead=1)
        for partition in partitions_before(connection, cutoff):
            dropped.partitions[partition.name] = _archive_and_drop(connection, keeper, partition)
        # What reached DEFAULT since gets its partition, and its archive, the next time.
        dropped.rows = delete_expired_rows(connection, cutoff, with_default=False)


@contextmanager
def archiving_alone(connection: Connection) -> Iterator[None]:
    """Be the only one that archives, or changes archives, of this database.

    Raises:
        ArchiveError: somebody else does.
    """
    with session_lock(connection, _ARCHIVE_LOCK) as alone:
        if not alone:
            raise ArchiveError("somebody else archives just now; run this again when they are done")
        yield


def _archive_and_drop(connection: Connection, keeper: Keeper, partition: Partition) -> Archive | None:
    for attempt in range(1, _ATTEMPTS + 1):
        archive = keeper.keep(partition) if _holds_rows(connection, partition) else None
        try:
            check = partial(keeper.require_unchanged, archive) if archive else None
            drop_partition(
                connection, partition, check=check or partial(_require_empty, connection, partition)
            )
        except PartitionChangedError:
            if attempt == _ATTEMPTS:
                raise
        else:
            return archive
    raise AssertionError


def _require_empty(connection: Connection, partition: Partition) -> None:
    if _holds_rows(connection, partition):
        raise PartitionChangedError(f"{partition.name} was empty and is not any more; run this again")


def _holds_rows(connection: Connection, partition: Partition) -> bool:
    row = connection.execute(format_ddl(_sql.holds_rows, table=partition.name)).fetchone()
    return bool(row and row[0])
