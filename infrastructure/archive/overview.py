"""How partitions are: their months, sizes and indexes, and whether archives of them are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from common.database.ddl import Connection
from common.database.partitions import TABLES, default_rows, list_partitions
from common.database.queries import Queries
from infrastructure.archive.manifest import Archive

_sql = Queries(__package__, "archive.sql")


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition.

    `rows` is the planner's estimate, None where PostgreSQL has not counted yet; of DEFAULT it is a count, and not
    `rows_estimated`. `bytes` includes the indexes. `indexes` says ``valid``,
    ``valid, with data`` where a closed month of signals has its index on data, or which ones are invalid. `archived` is
    None where nobody asked a store.
    """

    table: str
    name: str
    starts: datetime | None
    ends: datetime | None
    rows: int | None
    rows_estimated: bool
    bytes: int
    indexes: str
    archived: bool | None


def list_states(connection: Connection, archives: Sequence[Archive] | None = None) -> list[PartitionState]:
    """All partitions, by table and name; `archives` are those of the store, if one is asked."""
    indexes = {
        name: (count, invalid, searched)
        for name, count, invalid, searched in connection.execute(
            _sql.list_index_states, {"tables": list(TABLES)}
        )
    }
    strays = {f"{table}_default": rows for table, rows in default_rows(connection).items()}
    archived = None if archives is None else {archive.partition for archive in archives}
    return [
        PartitionState(
            table=each.table,
            name=each.name,
            starts=each.starts,
            ends=each.ends,
            rows=strays.get(each.name, each.row_estimate),
            rows_estimated=each.name not in strays,
            bytes=each.size_bytes,
            indexes=_describe(*indexes.get(each.name, (0, [], False))),
            archived=None if archived is None else each.name in archived,
        )
        for each in list_partitions(connection)
    ]


def _describe(count: int, invalid: list[str], searched_in_data: bool) -> str:  # noqa: FBT001 - as the row has it
    if invalid:
        return f"INVALID: {', '.join(invalid)}"
    return f"{count} valid{', with data' if searched_in_data else ''}"
