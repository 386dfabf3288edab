"""The erasure of a customer of whom the queue still has something: what waits, what is withheld, what is replayed."""

from datetime import timedelta
from typing import Any

import psycopg
from people import LATER, TENANT, People, event

from common.queue.queued_bytes import BYTES_KEY
from common.queue.streams import LANES, lane_of
from common.queue.withheld import WithheldEvents
from worker.ingest.guard import GuardLimits, RefusalGuard
from worker.store.batch import Store


def push_too_many_refusals(people: People, of_others: int) -> None:
    """Three events of the customer, and some of others, that a worker withholds rather than refuses."""
    people.pipeline.guard = RefusalGuard(GuardLimits(grace=2))
    people.pipeline.push(
        *(event(f"a{n}", kind="visit") for n in range(3)),
        *(event(f"b{n}", "other", "visit") for n in range(of_others)),
    )


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


def test_withheld_events_are_erased_from_among_the_others(people: People) -> None:
    push_too_many_refusals(people, of_others=3)
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
    push_too_many_refusals(people, of_others=4)
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
