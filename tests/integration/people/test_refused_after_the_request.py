"""Refusals around the instant up to which a customer is erased."""

from datetime import timedelta

from people import LATER, NOON, People, event


def test_what_is_refused_again_after_the_request_is_not_erased(people: People) -> None:
    people.send(event("x", kind="visit"), event("y", kind="visit"))
    path = people.ask_to_erase(at=LATER)
    people.pipeline.push(event("x", kind="visit"), received_at=LATER + timedelta(seconds=5))
    people.pipeline.drain()

    people.work()

    assert people.receipt(path)["erased"]["rejected_events"] == 1
    refused = people.pipeline.rows("SELECT event_id, received_at FROM rejected_events")
    assert refused == [{"event_id": "x", "received_at": LATER + timedelta(seconds=5)}]
    assert refused[0]["received_at"] > NOON
