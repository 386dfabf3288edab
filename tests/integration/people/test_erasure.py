"""The erasure of a customer, on real servers: nothing is left, nothing comes back, nobody else is touched."""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from elastic_transport import Urllib3HttpNode
from elasticsearch import Elasticsearch
from people import LATER, MARK, NOON, OTHER_TENANT, TENANT, People, event
from rich.console import Console

from common.queue.queued_bytes import BYTES_KEY
from common.queue.streams import LANES, lane_of
from common.queue.withheld import WithheldEvents
from common.search.client import open_client
from common.search.generations import share_generations
from infrastructure.search.rebuilds import plan_rebuilds
from infrastructure.search.reindex import Reindexer
from infrastructure.search.reindex_progress import LineProgress
from worker import erasure
from worker.guard import GuardLimits, RefusalGuard
from worker.store import Store

WITH_CUSTOMERS = """
SELECT DISTINCT table_name FROM information_schema.columns
JOIN pg_class ON relname = table_name AND NOT relispartition AND relkind IN ('r', 'p')
WHERE table_schema = 'public' AND column_name = 'customer_id'
"""


@pytest.fixture
def rebuild(people: People, database_url: str) -> Callable[..., None]:
    """Builds the index anew, by a client of one's own if one is given."""

    def run(search: Elasticsearch | None = None) -> None:
        progress = LineProgress(Console(file=io.StringIO()), quiet=True)
        with psycopg.connect(database_url, autocommit=True) as connection:
            rebuilds = plan_rebuilds(connection)
            Reindexer(connection, search or people.search, progress, grace_seconds=0).run(rebuilds)

    return run


def profile(event_id: str, name: str) -> bytes:
    return event(event_id, kind="customer_updated", name=name)


def test_nothing_is_left_of_an_erased_customer_in_any_table(people: People) -> None:
    people.send(
        event("e1"),
        event("e2"),
        profile("p1", "old name"),
        profile("p2", MARK.title()),
        event("x", kind="visit"),
    )
    people.send(event("e3", "other"), event("e4", "other"))
    people.send(event("e1"), tenant=OTHER_TENANT)
    tables = [row["table_name"] for row in people.pipeline.rows(WITH_CUSTOMERS)]
    assert {"events", "signals", "customers", "rejected_events", "erasures"} <= set(tables)
    others = [(table, "other", TENANT) for table in tables] + [
        (table, MARK, OTHER_TENANT) for table in tables
    ]
    before = [people.count(*other) for other in others]
    assert all(people.count(table) for table in ("events", "signals", "customers", "rejected_events"))

    receipt = people.erase()

    assert [people.count(table) for table in tables] == [0] * len(tables)
    assert [people.count(*other) for other in others] == before
    assert receipt["erased"] == {
        "customers": 1,
        "events": 4,
        "signals": 2,
        "rejected_events": 1,
        "documents": 2,
        "withheld_events": 0,
    }
    left = [line for line in people.everything().splitlines() if MARK in line.lower()]
    assert all(f",{OTHER_TENANT}," in line or line.startswith(f"({OTHER_TENANT},") for line in left), left


def test_search_finds_all_but_the_erased_customer(people: People) -> None:
    people.send(event("e1"), event("e2"), event("e3", "other"))
    people.send(event("e1"), tenant=OTHER_TENANT)

    people.erase()

    found = [(each["tenant_id"], each["customer_id"]) for each in people.documents().values()]
    assert sorted((int(tenant), customer) for tenant, customer in found) == [(7, "other"), (8, MARK)]


def test_to_remove_the_newest_documents_does_not_look_like_a_loss(people: People) -> None:
    people.send(event("e1", "other"))
    people.send(event("e2"))

    people.erase()
    people.send(event("e3", "other"))

    assert not people.pipeline.metrics.registry.get_sample_value("sspp_index_resends_total")


def test_what_was_queued_before_is_dropped_and_claims_its_id(people: People) -> None:
    people.pipeline.push(event("e1"), event("e2", "other"))
    path = people.ask_to_erase()

    people.work()
    assert people.receipt(path)["status"] == "running"  # the lane may still bring something
    people.pipeline.drain()
    people.pipeline.push(event("e1"), received_at=LATER + timedelta(days=1))
    people.pipeline.drain()

    assert (people.count("events"), people.count("events", "other")) == (0, 1)
    assert people.count("customers") == 0
    assert people.dropped("erased") == 1
    assert people.pipeline.metrics.registry.get_sample_value("sspp_events_duplicate_total") == 1


def test_the_receipt_is_done_once_the_queue_has_nothing_of_before(people: People, until: Any) -> None:
    people.pipeline.push(event("e1"))
    path = people.ask_to_erase()
    people.work()
    people.pipeline.drain()

    def is_done() -> bool:
        people.work()
        return bool(people.receipt(path)["status"] == "done")

    until(is_done)


def test_what_another_tenant_has_in_the_same_lane_delays_nothing(people: People) -> None:
    people.send(event("e1"))
    neighbour = TENANT + len(LANES)
    assert lane_of(neighbour) == lane_of(TENANT)
    # More of them than one look takes.
    for number in range(70):
        people.pipeline.push(event(f"n{number}"), tenant=neighbour)

    people.erase()

    assert people.documents() == {}


def test_what_is_queued_of_the_tenant_delays_the_receipt_and_not_the_search(people: People) -> None:
    people.send(event("e1"))
    neighbour = TENANT + len(LANES)
    for number in range(70):
        people.pipeline.push(event(f"n{number}"), tenant=neighbour)
    people.pipeline.push(event("e2", "other"))

    path = people.ask_to_erase()
    people.work()
    receipt = people.receipt(path)

    assert (receipt["status"], receipt["erased"]["documents"]) == ("running", 1)
    assert people.documents() == {}
    people.pipeline.redis.delete(lane_of(TENANT))
    people.pipeline.rows("UPDATE erasures SET due_at = now() RETURNING 1")
    people.work()
    assert people.receipt(path)["erased"] == receipt["erased"]
    assert people.receipt(path)["status"] == "done"


def test_what_comes_later_is_a_new_customer(people: People) -> None:
    """Also what was added to the former customer, while the erasure was asked for and not yet begun."""
    people.send(event("e1"), profile("p1", "Former"))
    path = people.ask_to_erase()
    later = LATER + timedelta(seconds=1)
    people.send(event("e2", amount="2.50", currency="USD"), profile("p2", "New"), received_at=later)

    people.work()

    assert people.receipt(path)["status"] == "done"
    (customer,) = people.pipeline.rows("SELECT * FROM customers")
    assert (customer["name"], customer["signal_count"], customer["counts"]) == ("New", 1, {"purchase": 1})
    assert people.pipeline.value("SELECT totals->>'USD' FROM customers") == "2.50"
    assert [row["event_id"] for row in people.pipeline.rows("SELECT event_id FROM events ORDER BY 1")] == [
        "e2",
        "p2",
    ]
    assert len(people.documents()) == 1


def test_a_replay_brings_nothing_back(people: People, api_store: Any) -> None:
    people.send(event("e1", kind="visit"), event("e2", "other", "visit"))
    api_store.execute(
        "INSERT INTO event_types (tenant_id, event_type, version, schema) VALUES (7, 'visit', 1, '{}')"
    )
    assert people.api.post("/v1/rejected/replay").json()["replayed"] == 2  # in the lane

    people.ask_to_erase()
    people.work()
    people.pipeline.drain()

    assert (people.count("events"), people.count("events", "other")) == (0, 1)
    assert people.count("rejected_events") == 0


def test_a_rebuild_of_the_index_brings_nothing_back(people: People, rebuild: Callable[..., None]) -> None:
    people.send(event("e1"), event("e2", "other"))
    people.erase()

    rebuild()

    assert [each["customer_id"] for each in people.documents().values()] == ["other"]


def test_a_rebuild_that_has_read_the_signals_already_brings_nothing_back(
    people: People,
    environment: dict[str, str],
    rebuild: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 0.02)
    people.send(event("e1"), event("e2", "other"))
    paths: list[str] = []

    class ErasingMeanwhile(Urllib3HttpNode):
        def perform_request(self, method: str, target: str, *args: Any, **options: Any) -> Any:
            if "/_bulk" in target and not paths:
                paths.append(people.ask_to_erase())
                people.work()
                assert people.receipt(paths[0])["status"] == "pending"
            return super().perform_request(method, target, *args, **options)

    with Elasticsearch(
        environment["ELASTICSEARCH_URL"], node_class=ErasingMeanwhile, max_retries=0
    ) as search:
        rebuild(search)
    people.work()

    assert people.receipt(paths[0])["status"] == "done"
    assert [each["customer_id"] for each in people.documents().values()] == ["other"]


def test_withheld_events_are_erased_from_among_the_others(people: People) -> None:
    people.pipeline.guard = RefusalGuard(GuardLimits(grace=2))
    people.pipeline.push(
        *(event(f"a{n}", kind="visit") for n in range(3)),
        *(event(f"b{n}", "other", "visit") for n in range(3)),
    )
    people.pipeline.drain()
    withheld = WithheldEvents(people.pipeline.redis)
    assert withheld.events() == {TENANT: 6}
    before = int(people.pipeline.redis.hget(BYTES_KEY, str(TENANT)))

    receipt = people.erase()

    assert receipt["erased"]["withheld_events"] == 3
    assert withheld.events() == {TENANT: 3}
    assert 0 < int(people.pipeline.redis.hget(BYTES_KEY, str(TENANT))) < before
    withheld.release(TENANT, timedelta(minutes=1))
    people.pipeline.drain()
    assert [
        row["customer_id"] for row in people.pipeline.rows("SELECT customer_id FROM rejected_events")
    ] == ["other"] * 3
    assert people.pipeline.redis.hget(BYTES_KEY, str(TENANT)) is None


def test_what_was_queued_before_is_dropped_rather_than_withheld(people: People) -> None:
    people.pipeline.guard = RefusalGuard(GuardLimits(grace=2))
    people.pipeline.push(
        *(event(f"a{n}", kind="visit") for n in range(3)),
        *(event(f"b{n}", "other", "visit") for n in range(4)),
    )
    people.ask_to_erase()

    people.pipeline.drain()

    assert WithheldEvents(people.pipeline.redis).events() == {TENANT: 4}
    assert people.dropped("erased") == 3


def test_what_breaks_the_store_is_dropped_rather_than_withheld(people: People) -> None:
    class Failing(Store):
        def write(self, candidates: Any, refused: Any) -> Any:
            if candidates:
                raise psycopg.DataError
            return super().write(candidates, refused)

    people.pipeline.guard = RefusalGuard(GuardLimits(grace=0, max_share=0))
    people.pipeline.push(event("e1"), event("e2", "other"))
    people.ask_to_erase()

    stage = people.pipeline.stage(store=Failing(people.pipeline.pool))
    while stage.step(0):
        pass
    stage.close()

    assert WithheldEvents(people.pipeline.redis).events() == {TENANT: 1}
    assert people.dropped("erased") == 1


def test_a_batch_that_looked_before_there_was_a_tombstone_is_waited_for(
    people: People, database_url: str
) -> None:
    people.send(event("e1"))
    with psycopg.connect(database_url) as batch:
        batch.execute("SELECT * FROM begin_batch(%s::integer[])", ([TENANT],))
        path = people.ask_to_erase()
        people.work(steps=1)
        assert people.receipt(path)["status"] == "pending"
        assert people.count("customers") == 1
        # What it found out before, it acts upon.
        batch.execute(
            "INSERT INTO events (event_key, received_at, batch_id, tenant_id, event_id, event_type, customer_id,"
            " occurred_at, raw) VALUES (gen_random_uuid(), %s, 1, %s, 'late', 'purchase', %s, %s, '{}')",
            (NOON, TENANT, MARK, NOON),
        )

    people.work()

    assert people.receipt(path)["status"] == "done"
    assert people.count("events") == 0


def test_a_batch_that_begins_with_a_tombstone_sees_it_whatever_it_reads_later(
    people: People, database_url: str
) -> None:
    """Its number is given before it looks: without that the erasure could not know that it has to wait."""
    with psycopg.connect(database_url) as batch:
        batch.execute("SELECT * FROM begin_batch(%s::integer[])", ([TENANT],))
        number = batch.execute("SELECT pg_current_xact_id_if_assigned()").fetchone()
        assert number is not None
        assert number[0] is not None


def test_a_writer_of_documents_that_read_the_signals_before_is_waited_for(
    people: People, database_url: str
) -> None:
    people.send(event("e1"))
    with psycopg.connect(database_url) as writer:
        people.ask_to_erase()
        people.work(steps=3)  # PostgreSQL has nothing more of the customer
        assert people.count("signals") == 0
        share_generations(writer)
        people.work(steps=2)
        assert len(people.documents()) == 1

    people.work()

    assert people.documents() == {}


def test_an_outage_of_search_delays_the_receipt_and_nothing_else(people: People) -> None:
    people.send(event("e1"))
    path = people.ask_to_erase()
    with open_client("http://127.0.0.1:1") as away, pytest.raises(Exception, match="cannot be reached"):
        people.work(search=away)

    assert [people.count(table) for table in ("events", "signals", "customers")] == [0, 0, 0]
    assert people.receipt(path)["status"] == "running"
    people.pipeline.rows("UPDATE erasures SET due_at = now() RETURNING 1")
    people.work()
    assert people.receipt(path)["status"] == "done"
    assert people.documents() == {}


def test_many_erasures_at_once_share_the_way(people: People) -> None:
    customers = [f"c{number}" for number in range(5)]
    people.send(*(event(f"e-{name}", name) for name in [*customers, "other"]))
    paths = [people.ask_to_erase(name) for name in customers]

    people.work(steps=8)

    assert [people.receipt(path)["status"] for path in paths] == ["done"] * 5
    assert people.pipeline.value("SELECT count(*) FROM events") == 1
    listed = people.api.get("/v1/erasures", params={"limit": 3}).json()
    rest = people.api.get("/v1/erasures", params={"limit": 3, "cursor": listed["next_cursor"]}).json()
    ids = [item["erasure_id"] for item in listed["items"] + rest["items"]]
    assert sorted(ids) == sorted(path.rpartition("/")[2] for path in paths)


def test_whoever_is_not_there_is_erased_all_the_same(people: People) -> None:
    receipt = people.erase("nobody")

    assert set(receipt["erased"].values()) == {0}


@pytest.mark.parametrize("scope", ["read", "ingest"])
def test_only_the_tenants_administrator_erases(people: People, api_store: Any, scope: str) -> None:
    headers = {"Authorization": f"Bearer {api_store.key(TENANT, scope)}"}
    for method, path in (
        ("DELETE", f"/v1/customers/{MARK}"),
        ("GET", "/v1/erasures"),
        ("PUT", f"/v1/customers/{MARK}/suppression"),
        ("GET", f"/v1/customers/{MARK}/export"),
    ):
        assert people.api.request(method, path, headers=headers).status_code == 403
    assert people.pipeline.value("SELECT count(*) FROM erasures") == 0
