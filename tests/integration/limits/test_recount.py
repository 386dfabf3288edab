"""Usage that workers of an older release did not count."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from ingest_pipeline import IngestPipeline as Pipeline
from typer.testing import CliRunner

from infrastructure.cli.main import app
from infrastructure.database.connections import connect
from infrastructure.database.usage import recount


def purchase(event_id: str) -> bytes:
    data = {"amount": "1.00", "currency": "USD"}
    return json.dumps(
        {"event_id": event_id, "event_type": "purchase", "customer_id": "c1", "data": data}
    ).encode()


def command(month: str = "2026-11") -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["tenants", "recount", "--month", month, "--json"])
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def used(pipeline: Pipeline, month: str = "2026-11-01") -> list[int]:
    query = "SELECT events_used(tenant_id, %(month)s::date) AS used FROM tenants WHERE tenant_id > 0 ORDER BY tenant_id"
    return [row["used"] for row in pipeline.rows(query, month=month)]


@pytest.fixture
def uncounted(pipeline: Pipeline) -> Pipeline:
    """Two counted events, and three of tenant 7 that are not."""
    for tenant in (7, 8):
        pipeline.push(purchase("counted"), tenant=tenant)
    pipeline.drain()
    with pipeline.pool.connection() as connection:
        kept = connection.execute("CREATE TABLE kept AS SELECT * FROM usage_parts")
        assert kept.rowcount == 2
    pipeline.push(*map(purchase, ("a", "b", "c")))
    pipeline.drain()
    with pipeline.pool.connection() as connection:
        connection.execute("DELETE FROM usage_parts WHERE batch_id NOT IN (SELECT batch_id FROM kept)")
    return pipeline


def test_what_nobody_counted_is_counted_once_however_often_one_asks(uncounted: Pipeline) -> None:
    assert used(uncounted) == [1, 1]

    assert command() == [{"slug": "seven", "month": "2026-11", "events": 3}]
    assert command() == []

    assert used(uncounted) == [4, 1]


def test_several_who_count_at_once_add_it_once(uncounted: Pipeline, database_url: str) -> None:
    def count(_: int) -> int:
        with connect(database_url) as connection:
            return sum(each.events for each in recount(connection, datetime(2026, 11, 21, tzinfo=UTC)))

    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(count, range(6))) == 3

    assert used(uncounted) == [4, 1]


def test_other_months_stay_as_they_are_and_what_was_erased_stays_counted(uncounted: Pipeline) -> None:
    assert command("2026-10") == []
    with uncounted.pool.connection() as connection:
        connection.execute("DELETE FROM events")

    assert command() == []

    assert used(uncounted) == [1, 1]
    assert used(uncounted, "2026-10-01") == [0, 0]
