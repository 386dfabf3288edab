"""Keeping a partition: its rows as lines, of one snapshot, read back before anybody may drop it."""

import secrets
from collections.abc import Iterator
from importlib.metadata import version

import psycopg
from psycopg import sql

from common.clock import Clock, system_clock
from common.database.ddl import Connection
from common.database.partitions import Partition
from common.database.queries import Queries
from infrastructure.archive.errors import ArchiveError, ErasuresUnfinishedError, PartitionChangedError
from infrastructure.archive.lines import check, pack
from infrastructure.archive.manifest import (
    FORMAT,
    LINES,
    Archive,
    list_archives,
    manifest_name,
    write_manifest,
)
from infrastructure.database.connections import connect
from infrastructure.safekeeping.fingerprint import state_of
from infrastructure.safekeeping.progress import Steps
from infrastructure.safekeeping.stores import Store

# What JSON has no exact numbers for in every language: they are written as strings.
_AS_TEXT = ("numeric", "bigint")

_sql = Queries(__package__, "archive.sql")


class Keeper:
    """Archives partitions of one database into one store, one process at a time.

    Args:
        connection: of a role that sees all rows, outside of any transaction; partitions are dropped with it.
        database_url: of the same database and role, for the snapshots.
        store: where archives are kept.
        steps: is told how it goes.
        clock: names the archives.
    """

    def __init__(
        self,
        connection: Connection,
        database_url: str,
        store: Store,
        steps: Steps,
        *,
        clock: Clock = system_clock,
    ) -> None:
        self._connection = connection
        self._database_url = database_url
        self._store = store
        self._steps = steps
        self._clock = clock

    def keep(self, partition: Partition) -> Archive:
        """Archive the partition, unless it is archived as it is now; returns the archive.

        What an archive of the same partition holds that has changed since goes with the old archive: it may be a
        customer who was erased.

        Raises:
            ErasuresUnfinishedError: customers are being erased.
            NoArchiveError, DamagedArchiveError: what was read back is not what was written.
            StoreError: the store is away or full.
            DatabaseUnavailableError: PostgreSQL is away.
        """
        require_finished_erasures(self._connection)
        earlier = [each for each in list_archives(self._store) if each.partition == partition.name]
        found = None
        if earlier:
            with self._steps.step(f"comparing {partition.name} with its archive"):
                state = state_of(self._connection, partition.name)
            # Something may have been taken out of the archive since: it is one all the same, that was to go.
            found = next((each for each in earlier if each.state == state), None)
        archive = found or self._write(partition)
        self._read_back(archive)
        for each in earlier:
            if each.oid == archive.oid and each.name != archive.name:
                delete_archive(self._store, each)
        return archive

    def require_unchanged(self, archive: Archive) -> None:
        """To be asked in the transaction that drops the partition, while nobody can change its rows.

        Raises:
            PartitionChangedError: it holds other rows than its archive: archive it again.
            ErasuresUnfinishedError: customers are to be erased from it.
        """
        require_finished_erasures(self._connection)
        if state_of(self._connection, archive.partition) != archive.state:
            raise PartitionChangedError(
                f"{archive.partition} was changed after it was archived; it was not dropped, run this again"
            )

    def _read_back(self, archive: Archive) -> None:
        step = self._steps.step(f"reading {archive.name} back", archive.content.lines, "rows")
        with step as advance:
            check(self._store, archive.content, advance)

    def _write(self, partition: Partition) -> Archive:
        assert partition.starts is not None and partition.ends is not None  # noqa: PT018 - DEFAULT is none of them
        at = self._clock()
        name = f"{partition.name}-{at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        with (
            connect(self._database_url, read_only=True) as connection,
            self._store.staging() as staging,
            self._steps.step(
                f"archiving {partition.name}", partition.row_estimate or None, "rows"
            ) as advance,
        ):
            connection.execute(_sql.wait_for_nothing)
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.transaction():
                require_finished_erasures(connection)
                oid = _find_table(connection, partition.name)
                columns = connection.execute(_sql.list_columns, {"oid": oid}).fetchall()
                file = staging / f"{name}{LINES}"
                content = pack(_lines(connection, partition.name, columns), file, advance)
                state = state_of(connection, partition.name)
                tombstones = state_of(connection, "tombstones")
            if content.lines != state.rows:
                raise ArchiveError(
                    f"{partition.name} has {state.rows:,} rows, but {content.lines:,} were read; run this again"
                )
            archive = Archive(
                name=name,
                format=FORMAT,
                partition=partition.name,
                table=partition.table,
                starts=partition.starts,
                ends=partition.ends,
                oid=oid,
                archived_at=at,
                release=version("sspp"),
                columns=[(column, kind) for column, kind in columns],
                state=state,
                tombstones=tombstones,
                expired_tenants=[],
                content=content,
            )
            self._store.put(content.name, file)
            write_manifest(self._store, archive)
        return archive


def require_finished_erasures(connection: Connection) -> None:
    """Make sure that no customer is to be erased from a partition that is archived.

    Raises:
        ErasuresUnfinishedError: some are.
    """
    row = connection.execute(_sql.count_unfinished_erasures).fetchone()
    if row and row[0]:
        raise ErasuresUnfinishedError(
            f"{row[0]} erasures are not done, and an archive would keep whom they are about: "
            "let rq worker maintenance finish them, then run this again"
        )


def delete_archive(store: Store, archive: Archive) -> None:
    """Delete an archive; the manifest first: what is left of a run that breaks off is no archive any more."""
    store.delete(manifest_name(archive.name))
    store.delete(archive.content.name)


def _find_table(connection: Connection, name: str) -> int:
    row = connection.execute(_sql.find_table, {"name": name}).fetchone()
    if row is None:
        raise ArchiveError(f"{name} is gone: somebody else dropped it")
    return int(row[0])


def _lines(
    connection: Connection, table: str, columns: list[tuple[str, str]]
) -> Iterator[bytes | bytearray | memoryview]:
    chosen = sql.SQL(", ").join(
        sql.SQL("{0}::text AS {0}" if kind in _AS_TEXT else "{0}").format(sql.Identifier(name))
        for name, kind in columns
    )
    statement = sql.SQL(_sql.copy_lines).format(columns=chosen, table=sql.Identifier(table))
    with connection.cursor().copy(statement) as rows:
        yield from rows
