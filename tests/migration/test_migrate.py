"""The runner, on databases of its own: what it applies, and what it refuses."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from patience import PATIENCE_SECONDS

from common.errors import DatabaseUnavailableError, SettingsError
from infrastructure.database.migrate import (
    LOCK_KEY,
    MIGRATIONS,
    MigrationError,
    main,
    migrate,
    read_migrations,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the real migrations, to tamper with."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


def add(directory: Path, name: str, statements: str) -> Path:
    """Put one more migration after the others."""
    path = directory / f"{len(list(directory.glob('*.sql'))) + 1:04}_{name}.sql"
    path.write_text(statements)
    return path


def test_an_empty_database_becomes_the_newest_schema(empty_database_url: str) -> None:
    applied = migrate(empty_database_url)

    assert applied == read_migrations(MIGRATIONS)
    with psycopg.connect(empty_database_url) as connection:
        recorded = connection.execute(
            "SELECT version, name, checksum, applied_at IS NOT NULL, duration >= '0s' FROM schema_migrations ORDER BY 1"
        ).fetchall()
    assert recorded == [(m.version, m.name, m.checksum, True, True) for m in applied]


def test_every_table_knows_its_tenant(empty_database_url: str) -> None:
    migrate(empty_database_url)

    with psycopg.connect(empty_database_url) as connection:
        without = connection.execute("""
            SELECT relname FROM pg_class
            WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
              AND NOT EXISTS (
                  SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'tenant_id' AND attnotnull
              )
            ORDER BY 1
        """).fetchall()
    # About the database, the search server and all tenants as a whole.
    assert without == [("index_marks",), ("plans",), ("schema_migrations",), ("search_indices",)]


def test_a_second_run_applies_nothing(empty_database_url: str) -> None:
    migrate(empty_database_url)

    assert migrate(empty_database_url) == []


def test_a_run_with_nothing_to_do_waits_for_no_lock(empty_database_url: str) -> None:
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        # Whoever merely reads gets past this lock; whoever changes rows or tables does not.
        other.execute("LOCK TABLE schema_migrations, events, signals, event_types IN EXCLUSIVE MODE")

        assert migrate(empty_database_url) == []


def test_two_runners_at_once_apply_everything_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: migrate(empty_database_url), range(4)))

    assert sorted(len(run) for run in runs) == [0, 0, 0, len(read_migrations(MIGRATIONS))]


def test_a_new_file_is_applied_after_the_others(empty_database_url: str, directory: Path) -> None:
    migrate(empty_database_url, directory=directory)
    add(directory, "add_notes", "CREATE TABLE notes (tenant_id integer NOT NULL); -- 100 % done")

    assert [m.name for m in migrate(empty_database_url, directory=directory)] == ["add_notes"]
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)


def test_a_failing_migration_leaves_nothing_of_itself_and_can_be_corrected(
    empty_database_url: str, directory: Path
) -> None:
    broken = add(directory, "add_notes", "CREATE TABLE notes (tenant_id integer); SELECT 1 / 0;")

    with pytest.raises(MigrationError, match=r"_add_notes\.sql failed and was rolled back: division by zero"):
        migrate(empty_database_url, directory=directory)

    broken.write_text("CREATE TABLE notes (tenant_id integer);")
    assert [m.name for m in migrate(empty_database_url, directory=directory)] == ["add_notes"]


def test_a_migration_waits_shortly_for_a_lock_and_tries_again(
    empty_database_url: str, directory: Path, until: Callable[..., Any]
) -> None:
    migrate(empty_database_url, directory=directory)
    add(
        directory,
        "widen",
        "SET LOCAL lock_timeout = '50ms'; ALTER TABLE tenants ADD COLUMN note text; SET LOCAL lock_timeout = '3s';",
    )
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(empty_database_url) as other,
        psycopg.connect(empty_database_url, autocommit=True) as observer,
    ):
        other.execute("LOCK TABLE tenants IN ACCESS SHARE MODE")
        run = pool.submit(migrate, empty_database_url, directory=directory)
        # Rolled back and idle: the first attempt has failed, the next one is to come.
        until(
            lambda: (
                observer.execute(
                    "SELECT FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name = 'sspp command' AND state = 'idle' AND query = 'ROLLBACK'"
                ).fetchone()
                is not None
            )
        )
        other.rollback()

        assert [m.name for m in run.result(timeout=PATIENCE_SECONDS)] == ["widen"]


def test_a_changed_file_is_refused(empty_database_url: str, directory: Path) -> None:
    migrate(empty_database_url, directory=directory)
    (directory / "0001_tenants.sql").write_text("SELECT 1;")

    with pytest.raises(MigrationError, match=r"0001_tenants\.sql was changed after it was applied"):
        migrate(empty_database_url, directory=directory)


def test_a_missing_file_is_refused(empty_database_url: str, directory: Path) -> None:
    newest = add(directory, "add_notes", "CREATE TABLE notes (tenant_id integer);")
    migrate(empty_database_url, directory=directory)
    newest.unlink()

    with pytest.raises(MigrationError, match=r"_add_notes\.sql was applied .* but the file is missing"):
        migrate(empty_database_url, directory=directory)


def test_a_renamed_file_is_refused(empty_database_url: str, directory: Path) -> None:
    migrate(empty_database_url, directory=directory)
    (directory / "0001_tenants.sql").rename(directory / "0001_companies.sql")

    with pytest.raises(MigrationError, match="is now named 0001_companies"):
        migrate(empty_database_url, directory=directory)


def test_a_gap_in_what_was_applied_is_refused(empty_database_url: str, directory: Path) -> None:
    migrate(empty_database_url, directory=directory)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version = 2")

    with pytest.raises(MigrationError, match=r"0002_events\.sql was never applied, but 0\d+ was"):
        migrate(empty_database_url, directory=directory)


@pytest.mark.parametrize("name", ["0999_far_ahead.sql", "0001_twice.sql", "0005-dashes.sql", "notes.sql"])
def test_gaps_doubles_and_odd_names_are_refused_before_anything_runs(
    empty_database_url: str, directory: Path, name: str
) -> None:
    (directory / name).write_text("SELECT 1;")

    with pytest.raises(MigrationError):
        migrate(empty_database_url, directory=directory)

    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,)


def test_a_dry_run_prints_what_would_run_and_changes_nothing(
    empty_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--database-url", empty_database_url, "--dry-run"]) == 0

    printed = capsys.readouterr().out
    for migration in read_migrations(MIGRATIONS):
        assert f"-- would apply {migration.filename}\n{migration.sql.strip()}" in printed

    with psycopg.connect(empty_database_url) as connection:
        relations = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert relations == []


def test_the_platforms_event_types_are_published_and_kept_current(empty_database_url: str) -> None:
    migrate(empty_database_url)
    published: LiteralString = (
        "SELECT event_type, version, schema, description, signal_type, signal_score, status FROM event_types"
        " WHERE tenant_id = 0 ORDER BY event_type"
    )
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        current = connection.execute(published).fetchall()
        assert "purchase" in {row[0] for row in current}
        connection.execute(
            """UPDATE event_types SET schema = '{"type": "object"}' WHERE event_type = 'purchase'"""
        )
        connection.execute("DELETE FROM event_types WHERE event_type = 'refund'")

        migrate(empty_database_url)

        restored = connection.execute(published).fetchall()
    assert restored == current


def test_a_wrong_url_is_reported_without_quoting_it() -> None:
    with pytest.raises(SettingsError) as failure:
        migrate("postgres//user:hush@host")

    assert "hush" not in failure.value.detail


def test_an_absent_server_is_reported() -> None:
    with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        migrate("postgresql://127.0.0.1:1/none")


def test_the_script_exits_with_one_line_when_it_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)

    assert main([]) == 1
    assert "DATABASE_URL" in capsys.readouterr().err
