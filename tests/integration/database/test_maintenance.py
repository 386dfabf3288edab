"""Upkeep as the maintenance queue runs it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from months import home_of, store
from psycopg_pool import ConnectionPool

from common.database.connections import open_pool
from common.database.partitions import ensure_partitions, month_start
from common.errors import DatabaseUnavailableError
from common.search.client import open_client
from common.settings import Settings
from worker.maintenance import upkeep as maintenance
from worker.maintenance.upkeep import delete_indexed_outbox, drop_expired_indices, run_upkeep

NOW = datetime(2050, 1, 15, tzinfo=UTC)


@pytest.fixture
def pool(database_url: str) -> Iterator[ConnectionPool]:
    with open_pool(database_url, application="test upkeep", max_size=1) as pool:
        yield pool


def settings(**overrides: object) -> Settings:
    return Settings.model_validate(
        {
            "DATABASE_URL": "postgresql://unused",
            "REDIS_URL": "redis://unused",
            "ELASTICSEARCH_URL": "http://unused",
            "SSPP_OUTBOX_KEEP_SECONDS": 600,
        }
        | overrides
    )


def put_outbox(database_url: str, batch_id: int, indexed_at: datetime | None) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO outbox VALUES (%s, 1, '{}', %s, %s, %s, %s)",
            [batch_id, NOW, NOW, NOW - timedelta(days=300), indexed_at],
        )


def outbox(database_url: str) -> list[int]:
    with psycopg.connect(database_url) as connection:
        return [row[0] for row in connection.execute("SELECT batch_id FROM outbox ORDER BY 1")]


def test_one_run_does_all_that_is_due_and_the_next_finds_nothing(
    database_url: str, pool: ConnectionPool
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO event_keys VALUES (gen_random_uuid(), 1, '2020-01-01T00:00Z')")
    put_outbox(database_url, 1, NOW - timedelta(seconds=601))
    keep_two_months = settings(SSPP_RETENTION_MONTHS=2, SSPP_PARTITIONS_AHEAD=1)

    done = run_upkeep(pool, keep_two_months, lambda: NOW)

    assert done["partitions_created"] == 9
    assert done["partitions_dropped"] > 0  # those that the migration made
    assert (done["outbox_deleted"], done["rows_expired"], done["indexes_built"]) == (1, 1, 1)
    assert set(run_upkeep(pool, keep_two_months, lambda: NOW).values()) == {0}


def test_only_outbox_rows_indexed_long_ago_are_deleted(
    database_url: str, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_OUTBOX_BATCH", 2)
    for batch_id in range(1, 6):
        put_outbox(database_url, batch_id, NOW - timedelta(hours=1))
    put_outbox(database_url, 6, NOW)
    put_outbox(database_url, 7, None)

    with pool.connection() as connection:
        assert delete_indexed_outbox(connection, NOW - timedelta(minutes=10)) == 5

    assert outbox(database_url) == [6, 7]


def test_a_server_that_goes_away_is_a_passing_failure(pool: ConnectionPool) -> None:
    def clock() -> datetime:
        pool.close()
        return NOW

    with pytest.raises(DatabaseUnavailableError):
        run_upkeep(pool, settings(), clock)


def test_retention_drops_the_search_indices_of_the_months_that_it_drops(
    pool: ConnectionPool, elasticsearch_url: str
) -> None:
    keep_two_months = settings(SSPP_RETENTION_MONTHS=2)
    run_upkeep(pool, keep_two_months, lambda: NOW)
    with open_client(elasticsearch_url) as client:
        assert drop_expired_indices(pool, client, keep_two_months, lambda: NOW) == {"indices_dropped": 0}
        for month in ("2049-10-g2", "2049-11", "2050-01"):
            client.indices.create(index=f"signals-{month}", aliases={"signals": {}})
        client.indices.create(index="signals-2049-10-g3")  # being built

        assert drop_expired_indices(pool, client, settings(), lambda: NOW) == {"indices_dropped": 0}
        assert drop_expired_indices(pool, client, keep_two_months, lambda: NOW) == {"indices_dropped": 2}
        assert sorted(client.indices.get_alias(name="signals").body) == ["signals-2049-11", "signals-2050-01"]


def test_what_is_archived_before_it_is_dropped_stays_with_all_that_belongs_to_it(
    pool: ConnectionPool, database_url: str, elasticsearch_url: str
) -> None:
    archiving = settings(SSPP_RETENTION_MONTHS=2, SSPP_ARCHIVE_URL="/archives")
    with pool.connection() as connection:
        ensure_partitions(connection, now=month_start(NOW, -5), ahead=1)
        key = store(connection, month_start(NOW, -5))

    done = run_upkeep(pool, archiving, lambda: NOW)

    assert (done["partitions_dropped"], done["rows_expired"]) == (0, 0)
    with pool.connection() as connection:
        assert home_of(connection, "events", key) == "events_2049_08"
    with open_client(elasticsearch_url) as client:
        client.indices.create(index="signals-2049-08", aliases={"signals": {}})
        assert drop_expired_indices(pool, client, archiving, lambda: NOW) == {"indices_dropped": 0}
        run_upkeep(pool, settings(SSPP_RETENTION_MONTHS=2), lambda: NOW)
        assert drop_expired_indices(pool, client, archiving, lambda: NOW) == {"indices_dropped": 1}
