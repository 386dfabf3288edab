"""Pods migrate when they start: ten at once do no harm, and those that find nothing to do wait for nobody."""

from pathlib import Path

import psycopg
import pytest
from k8s_processes import start_init_containers

from infrastructure.database.migrate import LOCK_KEY

pytestmark = pytest.mark.timeout(600)


def test_of_ten_pods_that_start_on_an_empty_database_one_migrates_and_all_start(
    fresh_secrets: dict[str, str], tmp_path: Path
) -> None:
    ended = start_init_containers(fresh_secrets, tmp_path, 10)

    assert [each.returncode for each in ended] == [0] * 10, [each.stderr for each in ended]
    assert sum("applied 0001" in each.stdout for each in ended) == 1
    assert sum("up to date" in each.stdout for each in ended) == 9
    with psycopg.connect(fresh_secrets["migrator-url"]) as connection:
        row = connection.execute("SELECT count(*), max(version) FROM schema_migrations").fetchone()
    assert row
    assert row[0] == row[1] > 0


def test_ten_pods_that_find_nothing_to_do_do_not_wait_for_whoever_migrates(
    migrated: dict[str, str], tmp_path: Path
) -> None:
    with psycopg.connect(migrated["migrator-url"]) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        ended = start_init_containers(migrated, tmp_path, 10)
    assert [each.returncode for each in ended] == [0] * 10, [each.stderr for each in ended]
    assert all("up to date" in each.stdout for each in ended)
