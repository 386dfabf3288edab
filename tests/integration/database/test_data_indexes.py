"""The index on the data of a month, built when the month is over."""

import psycopg
import pytest
from months import NOW, Connection, store

from common.database import data_indexes
from common.database.data_indexes import build_closed_month_indexes
from common.database.partitions import ensure_partitions, month_start


def test_a_month_that_is_over_gets_its_data_index_once(connection: Connection) -> None:
    ensure_partitions(connection, now=NOW, ahead=1)

    built = build_closed_month_indexes(connection, NOW)

    assert "signals_2049_12_data_gin" in built
    assert "signals_2050_01_data_gin" not in built
    assert build_closed_month_indexes(connection, NOW) == []
    assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)


def test_an_index_that_a_killed_run_left_unfinished_is_built_anew(connection: Connection) -> None:
    ensure_partitions(connection, now=NOW, ahead=1)
    for _ in range(2):
        store(connection, month_start(NOW, -1))
    with pytest.raises(psycopg.errors.UniqueViolation):
        # Both rows are of tenant 1: this cannot succeed, and leaves an invalid index of that name.
        connection.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY signals_2049_12_data_gin ON signals_2049_12 (tenant_id)"
        )

    assert "signals_2049_12_data_gin" in build_closed_month_indexes(connection, NOW)

    definition = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE indexname = 'signals_2049_12_data_gin'"
    ).fetchone()
    assert definition is not None
    assert "USING gin (data jsonb_path_ops)" in definition[0]


def test_only_one_run_builds_indexes(database_url: str, connection: Connection) -> None:
    ensure_partitions(connection, now=NOW, ahead=1)
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [data_indexes._INDEX_LOCK])

        assert build_closed_month_indexes(connection, NOW) == []
