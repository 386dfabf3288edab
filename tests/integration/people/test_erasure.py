"""The erasure of a customer, on real servers: nothing is left, nobody else is touched, and a receipt says so."""

from datetime import timedelta
from typing import Any

import pytest
from people import LATER, MARK, OTHER_TENANT, TENANT, People, event

from common.search.client import open_client

WITH_CUSTOMERS = """
SELECT DISTINCT table_name FROM information_schema.columns
JOIN pg_class ON relname = table_name AND NOT relispartition AND relkind IN ('r', 'p')
WHERE table_schema = 'public' AND column_name = 'customer_id'
"""


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
