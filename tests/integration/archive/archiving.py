"""What the tests of archives share: rows that are hard to keep exactly, and an archive loaded as the how-to says."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from months import NOW, Connection, store

from common.customers import customer_hash
from common.database.partitions import Partition, ensure_partitions, month_start, partitions_before
from infrastructure.archive.dropping import Dropped, drop_months
from infrastructure.archive.keeping import Keeper
from infrastructure.archive.lines import unpack
from infrastructure.archive.manifest import Archive, list_archives
from infrastructure.safekeeping.progress import Steps
from infrastructure.safekeeping.stores import FolderStore, Store

HOW_TO = Path(__file__).parents[3] / "docs" / "howto" / "keep_partitions.md"
DECEMBER, JANUARY = month_start(NOW, -1), month_start(NOW)
CUTOFF = JANUARY
TABLES = ("events", "signals", "api_logs")
MONTH = {f"{table}_2049_12" for table in TABLES}
"""The partitions of December 2049."""
QUIET = Steps(quiet=True)

_TEXTS = (
    "plain",
    "back\\slash \\. \\N",
    "tab\tline\nreturn\r",
    "\x01\x02\x7f\x1f",
    '"quoted", {"json": 1}',
    "ünï🎉",
    "",
)

_VALUES = {
    "event_keys": "%(key)s, %(tenant)s, %(at)s",
    "events": """%(key)s, %(at)s, %(batch)s, %(tenant)s, %(text)s, 't', %(customer)s, %(occurred)s,
        nullif(%(text)s, ''), %(text)s""",
    "signals": """%(key)s, %(at)s, %(tenant)s, %(text)s, 't', %(customer)s, 'revenue', 0.1, %(occurred)s, NULL,
        %(amount)s::numeric, 'USD',
        jsonb_build_object('amount', %(amount)s::numeric, 'text', %(text)s::text, 'none', NULL)""",
    "api_logs": """%(at)s, %(key)s, %(tenant)s, NULL, 'GET', %(text)s, NULL, 200, 0.1, '2001:db8::1', %(text)s, 'r'""",
}


class Months:
    """A database whose December 2049 is to be archived."""

    def __init__(self, connection: Connection, database_url: str, folder: Path) -> None:
        self.connection = connection
        self.database_url = database_url
        self.folder = folder
        self.store: Store = FolderStore(folder, create=True)

    def prepare(self) -> None:
        # Those that the migration made are of the present, long before: they would be dropped, too.
        for partition in partitions_before(self.connection, DECEMBER):
            self.connection.execute(f"DROP TABLE {partition.name}")
        ensure_partitions(self.connection, now=NOW, ahead=2)
        self.connection.execute(
            "INSERT INTO tenants (tenant_id, slug, name) VALUES (7, 'seven', 'Seven'), (8, 'eight', 'Eight')"
        )
        for number, text in enumerate(_TEXTS):
            self.difficult(
                7 + number % 2, f"c-{number}", text, DECEMBER + timedelta(microseconds=number * 999_983)
            )

    def difficult(self, tenant_id: int, customer_id: str, text: str, at: datetime) -> None:
        """An event, its key and signal, and a call, with `text` wherever there may be one."""
        row: dict[str, Any] = {
            "key": uuid4(),
            "at": at,
            "tenant": tenant_id,
            "customer": customer_id,
            "text": text,
            "occurred": datetime(1, 1, 1, tzinfo=UTC)
            if text
            else datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
            "amount": "12345678901234567890123.4567890120" if text else "0.10",
            "batch": 2**63 - 1,
        }
        for table, values in _VALUES.items():
            self.connection.execute(f"INSERT INTO {table} VALUES ({values})", row)

    def keeper(self, kind: type[Keeper] = Keeper, store: Store | None = None) -> Any:
        return kind(self.connection, self.database_url, store or self.store, QUIET)

    def drop(self, keeper: Keeper | None = None) -> Dropped:
        dropped = Dropped()
        drop_months(self.connection, dropped, now=NOW, cutoff=CUTOFF, keeper=keeper or self.keeper())
        return dropped

    def partition(self, name: str) -> Partition:
        [found] = [each for each in partitions_before(self.connection, CUTOFF) if each.name == name]
        return found

    def archives(self) -> dict[str, Archive]:
        """By the partition; there must be but one of each."""
        found = list_archives(self.store)
        by_partition = {archive.partition: archive for archive in found}
        assert len(by_partition) == len(found)
        return by_partition

    def names(self) -> set[str]:
        return {each.name for each in partitions_before(self.connection, CUTOFF)}

    def count(self, table: str) -> int:
        row = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])

    def load(self, archive: Archive) -> str:
        """Load an archive into a table of its own by the SQL of the how-to; returns the table's name."""
        block = re.search(r"```sql\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
        assert block is not None
        loaded = f"loaded_{archive.table}"
        text = block[1].replace("loaded_events", loaded).replace("events", archive.table)
        for statement in filter(None, map(str.strip, text.split(";"))):
            if statement.startswith("\\copy"):
                copy = re.sub(r"^\\copy (\w+) FROM PROGRAM '.*?'", r"COPY \1 FROM STDIN", statement)
                with self.connection.cursor().copy(copy) as lines:
                    for line in unpack(self.store, archive.content):
                        lines.write(line)
            else:
                self.connection.execute(statement)
        return loaded

    def erase(self, tenant_id: int, customer_id: str, at: datetime) -> None:
        """As if the customer had been erased, whose rows are gone from the tables."""
        self.connection.execute(
            "INSERT INTO tombstones VALUES (%s, %s, %s)",
            (tenant_id, customer_hash(tenant_id, customer_id), at),
        )


class KeeperThatIsDisturbed(Keeper):
    """Calls `disturb` after each partition that it archived."""

    disturb: Callable[[Partition], object]

    def keep(self, partition: Partition) -> Archive:
        archive = super().keep(partition)
        self.disturb(partition)
        return archive


__all__ = [
    "CUTOFF",
    "DECEMBER",
    "JANUARY",
    "MONTH",
    "NOW",
    "QUIET",
    "TABLES",
    "KeeperThatIsDisturbed",
    "Months",
    "store",
]
