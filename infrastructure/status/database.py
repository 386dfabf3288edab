"""PostgreSQL: what it holds, what waits in it, and whether its partitions are ready."""

from datetime import datetime
from time import monotonic
from typing import Any

import psycopg

from common.database.connections import translated_errors
from common.database.partitions import TABLES, default_rows, list_partitions
from common.database.queries import Queries
from common.queue.backlog import SELECT_OUTBOX_BACKLOG
from infrastructure.database.connections import Connection, connect
from infrastructure.status.status import Answers
from worker.measuring.database import months_ahead

MOST = 10_001
"""What is counted no further."""

_SEARCH_LAG_SECONDS = 300.0

_sql = Queries(__package__, "status.sql")
_tenants_sql = Queries("worker.measuring", "tenants.sql")


def ask_database(url: str, now: datetime, answers: Answers) -> None:
    """Add ``stores.postgresql``, ``lag.searchable_seconds``, ``waiting``, ``partitions`` and ``tenants``.

    Raises:
        DatabaseUnavailableError: it is away.
    """
    answers.sections["stores"] = {"postgresql": {"up": False}}
    with translated_errors(), connect(url, read_only=True) as connection:
        begun = monotonic()
        connection.execute(_sql.set_patience)
        answers.sections["stores"] = {"postgresql": _store(connection, monotonic() - begun)}
        _ask_outbox(connection, answers)
        answers.sections["tenants"] = dict(connection.execute(_tenants_sql.count_tenants).fetchall())
        _ask_partitions(connection, now, answers)
        answers.sections["waiting"] |= {
            "refused_events": _count(connection, _sql.count_refused),
            "refused_documents": _count(connection, _sql.count_refused_documents),
            "unfinished_erasures": _count(connection, _sql.count_unfinished_erasures),
        }


def _store(connection: Connection, latency: float) -> dict[str, Any]:
    row = connection.execute(_sql.read_sizes).fetchone()
    assert row is not None
    version = connection.info.server_version
    return {
        "up": True,
        "version": f"{version // 10_000}.{version % 10_000}",
        "latency_ms": round(latency * 1000, 1),
        "bytes": row[0],
        "connections": row[1],
        "connections_limit": row[2],
    }


def _ask_outbox(connection: Connection, answers: Answers) -> None:
    row = connection.execute(SELECT_OUTBOX_BACKLOG).fetchone()
    assert row is not None
    signals, age = row
    answers.sections["waiting"] = {"outbox_signals": signals}
    answers.sections["lag"] = {"searchable_seconds": round(age, 1)}
    if age > _SEARCH_LAG_SECONDS:
        answers.problems.append(f"signals wait for {age:.0f} seconds to become searchable")


def _ask_partitions(connection: Connection, now: datetime, answers: Answers) -> None:
    partitions, strays = list_partitions(connection), default_rows(connection)
    answers.sections["partitions"] = {
        table: {
            "months_ahead": months_ahead(partitions, table, now),
            "default_rows": strays[table],
            "partitions": sum(partition.table == table for partition in partitions),
            "bytes": sum(partition.size_bytes for partition in partitions if partition.table == table),
        }
        for table in TABLES
    }
    for table, state in answers.sections["partitions"].items():
        if state["months_ahead"] < 1:
            answers.problems.append(
                f"{table} has no partition for next month; make it with: sspp partitions create"
            )
        if state["default_rows"]:
            answers.problems.append(
                f"{table}_default holds {state['default_rows']:,} rows; move them with: sspp partitions create"
            )


def _count(connection: Connection, statement: Any) -> int | None:
    """Up to `MOST`; None if that takes too long to tell."""
    try:
        row = connection.execute(statement, {"most": MOST}).fetchone()
    except psycopg.errors.QueryCanceled:
        return None
    return row[0] if row else None
