"""The export of a customer has all that is held, and says when it is complete."""

import json
from collections.abc import Mapping
from typing import Any, LiteralString

import pytest
from people import LATER, MARK, OTHER_TENANT, TENANT, People, event

from api.database.fetching import fetch_all
from api.people import export
from worker.ingest.guard import GuardLimits, RefusalGuard


def exported(people: People, customer: str = MARK) -> list[dict[str, Any]]:
    with people.api.stream("GET", f"/v1/customers/{customer}/export") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["cache-control"] == "no-store"
        return [json.loads(line) for line in answer.iter_lines()]


def ids(lines: list[dict[str, Any]], kind: str) -> list[str]:
    return sorted(line["item"]["event_id"] for line in lines if line["kind"] == kind)


@pytest.mark.parametrize("page", [1, 2, 200])
def test_it_has_everything_however_many_pages_that_takes(
    people: People, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(export, "_PAGE", page)
    monkeypatch.setattr(export, "_LOG_PAGE", page)
    people.send(
        *(event(f"e{n}") for n in range(5)),
        event("p", kind="customer_updated", name="Ada"),
        event("o", "other"),
    )
    people.send(event("x1", kind="visit"), event("x2", kind="visit"), event("x3", "other", "visit"))
    people.pipeline.guard = RefusalGuard(GuardLimits(grace=0, max_share=0))
    people.send(event("w1", kind="visit"), event("w2", "other", "visit"))
    people.api.put(f"/v1/customers/{MARK}/suppression")

    lines = exported(people)

    purchases = [f"e{n}" for n in range(5)]
    assert ids(lines, "signal") == purchases
    assert ids(lines, "event") == [*purchases, "p"]
    assert ids(lines, "rejected_event") == ["x1", "x2"]
    assert ids(lines, "withheld_event") == ["w1"]
    assert lines[0]["kind"] == "customer"
    assert lines[0]["item"]["name"] == "Ada"
    assert lines[1]["kind"] == "suppression"
    assert lines[-1] == {"kind": "end", "item": {"lines": len(lines) - 1}}
    (sent,) = [
        line["item"]["event"]
        for line in lines
        if line["kind"] == "event" and line["item"]["event_id"] == "e3"
    ]
    assert sent == json.loads(event("e3"))


@pytest.mark.parametrize("stretch", [1, 3, 1000])
def test_the_log_is_read_in_stretches_whoevers_its_events_are(
    people: People, monkeypatch: pytest.MonkeyPatch, stretch: int
) -> None:
    monkeypatch.setattr(export, "_LOG_PAGE", stretch)
    people.send(event("e1"))
    people.send(*(event(f"n{number}", "other") for number in range(8)), tenant=OTHER_TENANT)
    people.send(event("e2"), received_at=LATER)
    found: list[int] = []

    async def counting(database: Any, query: LiteralString, parameters: Mapping[str, object]) -> Any:
        if "look_through_log" in query:
            found.append(1)
        return await fetch_all(database, query, parameters)

    monkeypatch.setattr(export, "fetch_all", counting)

    assert ids(exported(people), "event") == ["e1", "e2"]
    assert len(found) == -(-10 // stretch) + 1


def test_of_an_erased_customer_there_is_nothing(people: People) -> None:
    people.send(event("e1"), event("x", kind="visit"))
    people.erase()

    answer = people.api.get(f"/v1/customers/{MARK}/export")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_who_has_only_refused_events_has_an_export_too(people: People) -> None:
    people.send(event("x", kind="visit"))

    assert [line["kind"] for line in exported(people)] == ["rejected_event", "end"]


def test_one_that_breaks_off_lacks_its_end(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    people.send(event("e1"), event("x", kind="visit"))

    def fail(_row: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(export, "rejection", fail)
    kinds = []
    with (
        pytest.raises(Exception, match=r"peer closed|disconnected|incomplete"),
        people.api.stream("GET", f"/v1/customers/{MARK}/export") as answer,
    ):
        kinds += [json.loads(line)["kind"] for line in answer.iter_lines()]

    assert "end" not in kinds
    assert people.count("events", tenant=TENANT) == 1
