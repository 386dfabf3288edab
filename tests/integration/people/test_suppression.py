"""Of a suppressed customer nothing is stored from then on."""

from datetime import timedelta

from people import LATER, MARK, NOON, OTHER_TENANT, People, event


def suppress(people: People) -> None:
    people.clock.now = LATER
    answer = people.api.put(f"/v1/customers/{MARK}/suppression")
    assert (answer.status_code, answer.json()) == (200, {"suppressed_since": "2026-11-21T12:01:00Z"})


def test_what_is_received_since_then_is_dropped_and_counted(people: People) -> None:
    people.send(event("e1"))
    suppress(people)
    after = LATER + timedelta(seconds=1)

    people.send(event("e2"), event("e3", "other"), event("x", kind="visit"), received_at=after)
    people.send(event("e4"), received_at=NOON)  # it came before, and took its time
    people.send(event("e2"), tenant=OTHER_TENANT, received_at=after)

    stored = people.pipeline.rows("SELECT event_id FROM events WHERE tenant_id = 7 ORDER BY 1")
    assert [row["event_id"] for row in stored] == ["e1", "e3", "e4"]
    assert people.pipeline.value("SELECT count(*) FROM rejected_events") == 0
    assert people.count("events", tenant=OTHER_TENANT) == 1
    (customer,) = people.pipeline.rows(
        "SELECT signal_count FROM customers WHERE customer_id = 'zanzibar' AND tenant_id = 7"
    )
    assert customer["signal_count"] == 2
    assert people.dropped("suppressed") == 2


def test_when_it_ends_events_are_stored_again(people: People) -> None:
    suppress(people)
    assert people.api.delete(f"/v1/customers/{MARK}/suppression").status_code == 204
    assert people.api.get(f"/v1/customers/{MARK}/suppression").status_code == 404

    people.send(event("e1"), received_at=LATER + timedelta(seconds=1))

    assert people.count("events") == 1


def test_to_suppress_again_keeps_since_when(people: People) -> None:
    suppress(people)
    people.clock.now += timedelta(hours=1)
    again = people.api.put(f"/v1/customers/{MARK}/suppression")
    assert again.json() == people.api.get(f"/v1/customers/{MARK}/suppression").json()
    assert again.json() == {"suppressed_since": "2026-11-21T12:01:00Z"}


def test_an_erasure_ends_no_suppression(people: People) -> None:
    people.send(event("e1"))
    suppress(people)

    people.erase(at=LATER + timedelta(minutes=1))
    people.send(event("e2"), received_at=LATER + timedelta(hours=1))

    assert people.count("events") == 0
