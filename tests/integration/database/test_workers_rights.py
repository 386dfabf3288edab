"""What ingest and index workers may do in the database: their work, and nothing besides."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from connecting import ConnectAs
from elasticsearch import Elasticsearch
from ingest_pipeline import IngestPipeline
from redis import Redis

from common.customers import customer_hash
from common.database.connections import open_pool
from common.search.client import open_client
from common.search.indices import refresh
from common.search.template import ALIAS
from common.settings import load_settings
from worker.index.stage import IndexStage
from worker.startup import verify

RIGHTS = {
    "batch_ids": {"USAGE"},
    "customers": {"SELECT", "INSERT", "UPDATE"},
    "event_keys": {"SELECT", "INSERT"},
    "event_types": {"SELECT"},
    "events": {"SELECT", "INSERT"},
    "index_failures": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "index_marks": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "outbox": {"SELECT", "INSERT", "UPDATE"},
    "rejected_events": {"SELECT", "INSERT", "UPDATE"},
    "schema_violations": {"SELECT", "INSERT", "UPDATE"},
    "search_indices": {"SELECT"},
    "signals": {"SELECT", "INSERT"},
    "tombstones": {"SELECT"},
    "usage_parts": {"SELECT", "INSERT"},
}


def test_the_workers_role_has_the_rights_of_its_work_alone(connection: psycopg.Connection) -> None:
    found: dict[str, set[str]] = {}
    for name, right in connection.execute("""
        SELECT relname, privilege_type
        FROM pg_class, aclexplode(relacl)
        WHERE grantee = 'sspp_worker'::regrole
        UNION ALL
        SELECT relname || '.' || attname, privilege_type
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl)
        WHERE grantee = 'sspp_worker'::regrole
    """):
        found.setdefault(name, set()).add(right)
    assert found == RIGHTS


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET raw = '{}'",
        "DELETE FROM events",
        "UPDATE signals SET amount = 0",
        "DELETE FROM signals",
        "DELETE FROM event_keys",
        "DELETE FROM customers",
        "DELETE FROM rejected_events",
        "DELETE FROM outbox",
        "UPDATE event_types SET schema = '{}'",
        "UPDATE search_indices SET generation = 2",
        "SELECT * FROM tenants",
    ],
)
def test_a_worker_cannot_change_what_is_stored_for_good(connected_as: ConnectAs, statement: str) -> None:
    with connected_as("sspp_worker") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)  # type: ignore[call-overload]


@pytest.fixture
def as_worker(
    environment: dict[str, str], api_store: Any, client: Redis, logins: Callable[[str, str], str]
) -> Iterator[IngestPipeline]:
    """The ingest stage of tenant 7, which has a type of its own, connected as the workers' role."""
    api_store.execute("INSERT INTO tenants (tenant_id, slug, name) VALUES (7, 'seven', 'Seven')")
    api_store.execute(
        "INSERT INTO event_types (tenant_id, event_type, version, schema)"
        """ VALUES (7, 'own', 1, '{"required": ["size"]}')"""
    )
    api_store.execute(
        "INSERT INTO tombstones (tenant_id, customer_hash, suppressed_at) VALUES (7, %s, '2020-01-01T00:00Z')",
        (customer_hash(7, "suppressed"),),
    )
    with open_pool(logins(environment["DATABASE_URL"], "sspp_worker"), application="test") as pool:
        yield IngestPipeline(client, pool)


@pytest.fixture
def search(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with open_client(elasticsearch_url) as search:
        yield search


def event(event_id: str, kind: str = "purchase", customer: str = "c1", **data: Any) -> bytes:
    data = data or {"amount": "1.00", "currency": "USD"}
    found = {"event_id": event_id, "event_type": kind, "customer_id": customer, "data": data}
    return json.dumps(found).encode()


def test_the_workers_role_can_do_its_work(
    as_worker: IngestPipeline, search: Elasticsearch, api_store: Any
) -> None:
    verify(as_worker.services())
    for amount in ("1.00", "2.00"):  # a duplicate, a refusal again, and an id that another event has
        as_worker.push(
            event("e1"),
            event("e2", amount=amount, currency="USD"),
            event("p1", "customer_updated", name="Ada"),
            event("o1", "own", other=1),
            event("s1", customer="suppressed"),
        )
        as_worker.drain()
    stored = api_store.execute("SELECT event_id FROM events ORDER BY 1")
    assert stored == [("e1",), ("e2",), ("p1",)]
    assert api_store.execute("SELECT name, totals->>'USD' FROM customers") == [("Ada", "2.00")]
    assert api_store.execute("SELECT event_id FROM rejected_events") == [("o1",)]
    assert api_store.execute("SELECT count(*) FROM schema_violations") == [(1,)]

    stage = IndexStage(as_worker.pool, search, as_worker.metrics, load_settings(), as_worker.services().clock)
    api_store.execute(  # as if the server had refused one before
        "INSERT INTO index_failures SELECT signal_id, 7, now(), 400, 'x' FROM signals LIMIT 1"
    )
    signals = index_all(stage, search, api_store)
    assert api_store.execute("SELECT count(*) FROM index_failures") == [(0,)]

    for name in search.indices.get_alias(index="signals-*").body:
        search.indices.delete(index=name)
    api_store.execute("DELETE FROM outbox")  # so that it sends the month again, from what is stored
    as_worker.push(event("e3"))
    as_worker.drain()
    assert index_all(stage, search, api_store) == signals + 1

    as_worker.push(event("e4"))
    as_worker.drain()
    api_store.execute("DELETE FROM signals WHERE event_id = 'e4'")  # as when somebody is erased
    assert index_all(stage, search, api_store) == signals + 1
    assert api_store.execute("SELECT count(*) FROM outbox WHERE indexed_at IS NULL") == [(0,)]


def index_all(stage: IndexStage, search: Elasticsearch, api_store: Any) -> int:
    """Let `stage` index all signals, and return how many those are; it fails if they do not come."""
    [(signals,)] = api_store.execute("SELECT count(*) FROM signals")
    for _ in range(50):
        stage.step(0)
        refresh(search)
        if search.count(index=ALIAS, ignore_unavailable=True)["count"] == signals:
            break
    else:
        pytest.fail("signals are missing in the index")
    return int(signals)
