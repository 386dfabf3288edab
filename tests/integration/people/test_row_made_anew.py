"""The row of a customer who was erased and came again: it is what batches would have made of what came later."""

import json
from datetime import timedelta
from importlib.resources import files
from typing import Any

import pytest
from people import LATER, MARK, People, event

from worker.domains import DOMAINS

ROW = "SELECT * FROM customers WHERE tenant_id = 7 AND customer_id = 'zanzibar'"
OWN_TYPE = """
INSERT INTO event_types (tenant_id, event_type, version, schema, signal_type, signal_score)
VALUES (7, 'webinar', %(version)s, '{}', %(signal_type)s, %(score)s)
"""


def profile(event_id: str, name: str) -> bytes:
    return event(event_id, kind="customer_updated", name=name)


def store(people: People, *raws: bytes, seconds: int = 1) -> None:
    """Events that come so long after the erasure was asked for, stored and not indexed."""
    people.pipeline.push(*raws, received_at=LATER + timedelta(seconds=seconds))
    people.pipeline.drain()


def execute(people: People, statement: str, **parameters: Any) -> None:
    with people.pipeline.pool.connection() as connection:
        connection.execute(statement, parameters)


def row(people: People) -> dict[str, Any]:
    found = people.pipeline.rows(ROW)
    assert len(found) == 1
    # Sums of floating-point numbers in another order.
    return {name: pytest.approx(each) if name == "heat" else each for name, each in found[0].items()}


@pytest.mark.parametrize(
    "first_due", ["- interval '50 years' +", "-"], ids=["in order", "the last one first"]
)
def test_two_erasures_leave_what_came_after_both_in_whatever_order_they_run(
    people: People, first_due: str
) -> None:
    people.send(event("e1"), profile("p1", "First"))
    paths = [people.ask_to_erase()]
    store(people, event("e2"), profile("p2", "Second"))
    paths.append(people.ask_to_erase(at=LATER + timedelta(seconds=2)))
    store(people, event("e3", amount="2.50", currency="USD"), seconds=3)
    execute(people, f"UPDATE erasures SET due_at = now() {first_due} (erased_at - '2020-01-01')")

    people.work()

    assert [people.receipt(path)["status"] for path in paths] == ["done", "done"]
    found = row(people)
    assert (found["name"], found["signal_count"], found["counts"]) == (None, 1, {"purchase": 1})
    assert people.pipeline.value("SELECT totals->>'USD' FROM customers") == "2.50"
    assert [each["event_id"] for each in people.pipeline.rows("SELECT event_id FROM events")] == ["e3"]


def test_the_row_is_what_batches_made_of_any_later_event(people: People) -> None:
    samples = [
        (event_type.name, sample["data"])
        for domain in DOMAINS
        for event_type in domain.event_types
        for sample in json.loads(
            (files(f"worker.domains.{domain.name}") / "samples" / f"{event_type.name}.valid.json").read_text()
        )
    ]
    people.ask_to_erase()
    raws = []
    for number, (kind, data) in enumerate(samples):
        # Some happened long ago, and some will.
        occurred_at = LATER + timedelta(days=number - len(samples) // 2)
        envelope = {"event_id": f"s{number}", "event_type": kind, "customer_id": MARK}
        raws.append(json.dumps({**envelope, "occurred_at": occurred_at.isoformat(), "data": data}).encode())
    store(people, *raws)
    assert people.count("rejected_events") == 0
    before = row(people)
    assert before["signal_count"] == people.count("signals") > len(DOMAINS[0].event_types)
    assert before["name"]

    people.work()

    assert row(people) == before


def test_a_type_that_was_retired_or_means_something_else_by_now_counts_as_it_was_stored(
    people: People,
) -> None:
    execute(people, OWN_TYPE, version=1, signal_type="engagement", score=0.4)
    people.send(event("e1"))
    people.ask_to_erase()
    store(people, event("w1", kind="webinar", minutes=30))
    execute(people, OWN_TYPE, version=2, signal_type="churn_risk", score=0.9)
    store(people, event("w2", kind="webinar", minutes=30), seconds=2)
    execute(people, "UPDATE event_types SET status = 'retired' WHERE tenant_id = 7")

    people.work()

    found = row(people)
    assert found["signal_counts"] == {"engagement": 1, "churn_risk": 1}
    assert (found["signal_count"], found["counts"]) == (people.count("signals"), {"webinar": 2})
    assert found["heat"] is not None


def test_a_stored_profile_that_is_invalid_by_now_leaves_the_customer(people: People) -> None:
    people.ask_to_erase()
    store(people, profile("p1", "Former"), event("e1"))
    before = row(people)
    execute(people, "UPDATE events SET raw = '{}' WHERE event_id = 'p1'")

    people.work()

    after = row(people)
    assert after["name"] is None
    assert {**after, "name": None, "profile_versions": None} == {
        **before,
        "name": None,
        "profile_versions": None,
    }
