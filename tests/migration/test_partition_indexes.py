"""The indexes of the partitioned tables: the same on each partition, whenever it was made."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from common.database import partitions
from common.database.partitions import ensure_partitions
from infrastructure.database.migrate import MIGRATIONS, migrate

LATER = datetime(2031, 5, 1, tzinfo=UTC)


def partition_indexes(connection: psycopg.Connection, table: str) -> dict[str, Counter[str]]:
    """What each partition's indexes are derived from, by partition; those of no parent are named themselves."""
    found: dict[str, Counter[str]] = {}
    for partition, index in connection.execute(
        """
        SELECT partition.relname, coalesce(parent.relname, index.relname)
        FROM pg_inherits AS inherits
        JOIN pg_class AS partition ON partition.oid = inherits.inhrelid
        JOIN pg_index ON indrelid = partition.oid AND indisvalid
        JOIN pg_class AS index ON index.oid = indexrelid
        LEFT JOIN pg_inherits AS derived ON derived.inhrelid = indexrelid
        LEFT JOIN pg_class AS parent ON parent.oid = derived.inhparent
        WHERE inherits.inhparent = %s::regclass
        """,
        (table,),
    ):
        found.setdefault(partition, Counter())[index] += 1
    return found


@pytest.mark.parametrize(
    ("table", "indexes"),
    [
        ("events", {"events_pkey": 1, "events_by_trace": 1}),
        ("signals", {"signals_pkey": 1, "signals_by_customer": 1, "signals_by_type": 1}),
    ],
)
def test_partitions_of_before_and_after_have_the_indexes_of_their_parent(
    empty_database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    indexes: dict[str, int],
) -> None:
    former = tmp_path / "former"
    former.mkdir()
    for path in MIGRATIONS.glob("000[1-7]_*.sql"):
        (former / path.name).write_bytes(path.read_bytes())
    with monkeypatch.context() as at_that_time:
        at_that_time.setattr(partitions, "TABLES", ("events", "signals"))
        migrate(empty_database_url, directory=former)

    migrate(empty_database_url)

    with psycopg.connect(empty_database_url) as connection:
        made_later = ensure_partitions(connection, now=LATER, ahead=0)
        found = partition_indexes(connection, table)
    assert {f"{table}_default", f"{table}_2031_05"} <= found.keys()
    assert f"{table}_2031_05" in made_later
    assert {partition: dict(each) for partition, each in found.items()} == dict.fromkeys(found, indexes)
