"""The peers do the work that the platform does: the same rows in the same tables, and the same documents."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from peers import work
from suite.bench import Place
from suite.checking import WITHOUT_OUTBOX, check_arrived
from suite.events import Event, Workload
from suite.queueing import queue_events

from common.search.client import open_client
from common.search.generations import MonthIndices
from common.search.indices import ensure_indices, refresh
from common.services import open_services
from common.settings import load_settings
from worker.stages import Stages

TENANT_ID = 1
RECEIVED_AT = datetime.now(UTC)
TABLES = {
    "event_keys": "SELECT * FROM event_keys ORDER BY event_key",
    "events": "SELECT event_key, received_at, tenant_id, event_id, event_type, customer_id, occurred_at, trace_id, raw"
    " FROM events ORDER BY event_key",
    "signals": "SELECT * FROM signals ORDER BY signal_id",
    "customers": "SELECT tenant_id, customer_id, name, email, phone, custom_fields, tags, profile_versions, first_seen,"
    " last_seen, signal_count, counts, signal_counts, totals, round(heat::numeric, 6) FROM customers"
    " ORDER BY customer_id",
    "rejected_events": "SELECT tenant_id, event_id, event_type, customer_id, trace_id, code, raw FROM rejected_events"
    " ORDER BY event_id",
}


@pytest.fixture
def place(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("BENCH_TENANT_ID", str(TENANT_ID))
    work._clients.cache_clear()
    urls = (environment[name] for name in ("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL"))
    yield Place(*urls, TENANT_ID, "")
    work._clients().pool.close()
    work._clients().search.close()
    work._clients.cache_clear()


@pytest.fixture
def events() -> list[Event]:
    """Some hundred, so that there are refusals, duplicates, and profiles that change twice."""
    return Workload("same-work").events(400)


def test_a_peers_job_has_the_effect_that_the_platform_has(place: Place, events: list[Event]) -> None:
    with open_client(place.elasticsearch_url) as client:
        ensure_indices(client, MonthIndices(RECEIVED_AT.date().replace(day=1)))
        for event in events:
            work.process(event.raw.decode(), RECEIVED_AT.isoformat())
        refresh(client)
    assert check_arrived(place, events, WITHOUT_OUTBOX) == []
    theirs = _emptied(place)

    _store_as_the_platform_does(place, events)
    ours = _emptied(place)

    assert all(ours.values())
    assert theirs == ours


def _store_as_the_platform_does(place: Place, events: list[Event]) -> None:
    with open_services(load_settings(), application="test") as services:
        queue_events(services.redis, TENANT_ID, events, RECEIVED_AT, entry_events=len(events))
        stage = Stages(services).build("ingest", "test")
        while stage.step(0):
            pass
        stage.close()


def _emptied(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, which are empty afterwards."""
    with psycopg.connect(place.database_url) as connection:
        rows = {table: connection.execute(query).fetchall() for table, query in TABLES.items()}
        connection.execute("TRUNCATE event_keys, events, signals, customers, rejected_events, outbox")
    return rows
