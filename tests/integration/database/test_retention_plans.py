"""What a page of retention's walk reads of a log of many months."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from common.database.partitions import ensure_partitions
from common.database.queries import Queries

FIRST, LATEST = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "table"), [("find_expired_signals", "signals"), ("find_expired_events", "events")]
)
def test_a_page_is_read_through_primary_keys_alone_and_from_no_later_month(
    connection: psycopg.Connection, api_store: Any, name: str, table: str
) -> None:
    for days in range(0, 360, 5):
        month = FIRST + timedelta(days=days)
        ensure_partitions(connection, now=month, ahead=0)
        api_store.event(days % 7, f"e{days}", received_at=month)
    connection.execute("ANALYZE")
    connection.execute("SET enable_seqscan = off")
    page = {
        "after_at": datetime(2026, 3, 7, tzinfo=UTC),
        "after_id": UUID(int=0),
        "ends": datetime(2026, 3, 20, tzinfo=UTC),
        "most": 10_000,
        "tenant_ids": [1, 2, 3],
        "cutoffs": [LATEST] * 3,
    }

    statement = getattr(Queries("worker.maintenance", "retention.sql"), name)
    plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {statement}", page))

    read = re.findall(rf"(\w+ Scan)(?: using (\w+))? on ({table}_\w+)", plan)
    assert {kind for kind, _, _ in read} == {"Index Scan"}
    assert all(index == f"{partition}_pkey" for _, index, partition in read)
    months = {partition for _, _, partition in read}
    assert f"{table}_2026_03" in months
    assert not months & {f"{table}_2026_{month:02}" for month in range(4, 13)}
    assert len(connection.execute(statement, page).fetchall()) == 1
