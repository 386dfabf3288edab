"""A past for a database: millions of events with their signals, over months, as if they had come in one by one."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from common.database.partitions import ensure_partitions, month_start
from common.database.queries import Queries
from suite.bench import Place

MONTHS_BEFORE = 5
SIGNALS_OF_A_CUSTOMER = 50

# About what random inserts leave of a page; without this, indexes as just built would split at every turn.
_RANDOM_FILL_PERCENT = 70
_IN_ORDER = ("received_at", "signals_by_type")

_sql = Queries("suite", "history.sql")


@dataclass(frozen=True, slots=True)
class _Index:
    table_name: str
    name: str
    definition: str
    key_definition: str | None
    key_name: str | None
    options: list[str]


def customer_id(number: int) -> str:
    """The id of a customer, as in history.sql: the first 5,000 are those of the workload, the others between them."""
    return f"customer-{number % 5000:05d}" + ("" if number < 5000 else f"-{number // 5000}")


def fill(place: Place, signals: int, now: datetime) -> None:
    """Give the empty database of `place` `signals` events with a signal each, and a customer for every 50 of them.

    Half of them came in the month of `now`, until an hour before, the others in the five months before. The tables and
    indexes are as when rows come one by one: those whose keys are random have pages that are 70 % full. Vacuumed and
    analyzed, and nothing is left for a checkpoint to write.
    """
    periods = _periods(signals, now)
    customers = signals // SIGNALS_OF_A_CUSTOMER
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        for back in range(MONTHS_BEFORE):
            ensure_partitions(connection, now=month_start(now, -back), ahead=0)
        with connection.cursor(row_factory=class_row(_Index)) as cursor:
            indexes = cursor.execute(_sql.list_indexes).fetchall()
        for index in indexes:
            _drop(connection, index)
    # Two at a time: as many as there are processors on a small machine.
    with ThreadPoolExecutor(2) as threads:
        jobs = [
            threads.submit(_fill_table, place, statement, periods, customers)
            for statement in (_sql.fill_signals, _sql.fill_events, _sql.fill_event_keys)
        ]
        jobs.append(threads.submit(_fill_customers, place, periods, customers))
        for job in jobs:
            job.result()
        for built in [threads.submit(_create, place, index) for index in indexes]:
            built.result()
        for done in [
            threads.submit(_vacuum, place, table)
            for table in ("signals", "events", "event_keys", "customers")
        ]:
            done.result()


@dataclass(frozen=True, slots=True)
class _Period:
    low: int
    high: int
    starts: datetime
    ends: datetime


def _periods(signals: int, now: datetime) -> list[_Period]:
    of_month = (signals - signals // 2) // MONTHS_BEFORE
    past = [
        _Period(
            number * of_month,
            (number + 1) * of_month,
            month_start(now, number - MONTHS_BEFORE),
            month_start(now, number + 1 - MONTHS_BEFORE),
        )
        for number in range(MONTHS_BEFORE)
    ]
    starts = month_start(now)
    ends = max(starts + timedelta(seconds=1), now - timedelta(hours=1))
    return [*past, _Period(MONTHS_BEFORE * of_month, signals, starts, ends)]


def _fill_table(place: Place, statement: LiteralString, periods: Sequence[_Period], customers: int) -> None:
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for preparation in (_sql.create_kinds, _sql.create_customer_id, _sql.create_numbered):
            connection.execute(preparation)
        for period in periods:
            connection.execute(
                statement,
                {
                    "tenant_id": place.tenant_id,
                    "low": period.low,
                    "high": period.high,
                    "starts": period.starts,
                    "ends": period.ends,
                    "customers": customers,
                },
            )


def _fill_customers(place: Place, periods: Sequence[_Period], customers: int) -> None:
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        connection.execute(_sql.create_customer_id)
        connection.execute(
            _sql.fill_customers,
            {
                "tenant_id": place.tenant_id,
                "starts": periods[0].starts,
                "ends": periods[-1].ends,
                "customers": customers,
            },
        )


def _drop(connection: psycopg.Connection, index: _Index) -> None:
    if index.key_name:
        statement = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
            sql.Identifier(index.table_name), sql.Identifier(index.key_name)
        )
    else:
        statement = sql.SQL("DROP INDEX {}").format(sql.Identifier(index.name))
    connection.execute(statement)


def _create(place: Place, index: _Index) -> None:
    definition = index.key_definition or index.definition
    in_order = definition.partition("(")[2].startswith(_IN_ORDER) or index.name in _IN_ORDER
    fill = "" if in_order or index.options else f" WITH (fillfactor = {_RANDOM_FILL_PERCENT})"
    if index.key_name:
        statement = f"ALTER TABLE {index.table_name} ADD CONSTRAINT {index.key_name} {definition}{fill}"
    else:
        head, where, condition = definition.replace(" ON ONLY ", " ON ").partition(" WHERE ")
        statement = head + ("" if "brin" in head else fill) + where + condition
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute(cast("LiteralString", statement))


def _vacuum(place: Place, table: str) -> None:
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        connection.execute(cast("LiteralString", f"VACUUM (ANALYZE) {table}"))
