"""Several erasures at once: none waits for another that fails or waits, and each counts what it erased once."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from people import LATER, MARK, OTHER_TENANT, TENANT, People, event

from common.search.removal import remove_documents
from worker.erasure import stage as erasure

TAKE_NUMBER = "SELECT pg_current_xact_id()"
BREAKING = """
CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$;
"""


@contextmanager
def broken(people: People, trigger: str) -> Iterator[None]:
    """A database that cannot do something: as if a bug of ours, or a crash, came at that place."""
    with people.pipeline.pool.connection() as connection:
        connection.execute(BREAKING)
        connection.execute(f"CREATE TRIGGER breaking BEFORE {trigger} EXECUTE FUNCTION break()")
    yield
    with people.pipeline.pool.connection() as connection:
        connection.execute("DROP FUNCTION break() CASCADE")


def states(people: People) -> list[str]:
    return [row["state"] for row in people.pipeline.rows("SELECT state FROM erasures ORDER BY state")]


def make_all_due(people: People) -> None:
    people.pipeline.rows("UPDATE erasures SET due_at = now() RETURNING 1")


def come_again(people: People, *customers: str) -> None:
    """One event of each, after the erasure was asked for."""
    people.pipeline.push(
        *(event(f"again-{name}", name) for name in customers), received_at=LATER + timedelta(seconds=1)
    )
    people.pipeline.drain()


def test_one_that_fails_holds_up_no_other_and_nothing_counts_twice(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_RETRY_SECONDS", 0.0)
    people.send(event("e1"), event("e2", "second"))
    paths = [people.ask_to_erase("second"), people.ask_to_erase()]
    come_again(people, MARK, "second")

    with broken(people, "DELETE ON customers FOR EACH ROW WHEN (OLD.customer_id = 'second')"):
        stage = people.stage()
        while states(people) != ["done", "requested"]:
            with suppress(psycopg.errors.RaiseException):
                stage.step(0)
    people.work()

    receipts = [people.receipt(path) for path in paths]
    assert [receipt["status"] for receipt in receipts] == ["done", "done"]
    assert [receipt["erased"]["customers"] for receipt in receipts] == [1, 1]
    assert [people.count("customers", name) for name in (MARK, "second")] == [1, 1]


def test_what_is_erased_and_what_the_receipt_says_of_it_are_one(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_RETRY_SECONDS", 0.0)
    people.send(event("e1"), event("x", kind="visit"))
    path = people.ask_to_erase()
    come_again(people, MARK)

    with broken(people, "UPDATE ON erasures FOR EACH ROW WHEN (NEW.state <> OLD.state)"):
        for _ in range(3):
            with pytest.raises(psycopg.errors.RaiseException):
                people.work()
        assert set(people.receipt(path)["erased"].values()) == {0}
        assert people.count("rejected_events") == 1
    people.work()

    assert people.receipt(path)["erased"] == {
        "customers": 1,
        "events": 1,
        "signals": 1,
        "rejected_events": 1,
        "documents": 1,
        "withheld_events": 0,
    }


def test_a_step_that_took_its_time_leaves_the_other_customers_to_the_next(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_STEP_SECONDS", 0.0)
    people.send(event("e1"), event("e2", "second"))
    for name in (MARK, "second"):
        people.ask_to_erase(name)
    stage = people.stage()

    while states(people) == ["requested"] * 2:
        stage.step(0)

    assert states(people) == ["requested", "signals"]


def test_what_is_waited_for_outlives_a_drain(
    people: People, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 0.02)
    people.ask_to_erase()
    with psycopg.connect(database_url) as one, psycopg.connect(database_url) as other:
        one.execute(TAKE_NUMBER)
        people.work(steps=2)
        assert states(people) == ["requested"]
        other.execute(TAKE_NUMBER)
        one.rollback()

        people.work(steps=10)  # another drain

        assert states(people) == ["documents"]  # what runs by now may have read the signals


def test_a_number_of_another_server_is_not_waited_for(people: People) -> None:
    """It came with a backup: this server may not count up to it for years."""
    path = people.ask_to_erase()
    people.pipeline.rows("""UPDATE erasures SET awaited = '{"requested": 4000000000000}' RETURNING 1""")

    people.work()

    assert people.receipt(path)["status"] == "done"


def test_a_number_of_one_state_is_not_taken_for_that_of_another(
    people: People, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 0.02)
    people.send(event("e1"))
    people.ask_to_erase()
    while states(people) != ["documents"]:
        people.work(steps=1)
    assert list(people.pipeline.value("SELECT awaited FROM erasures")) == ["requested"]
    with psycopg.connect(database_url) as writer:
        writer.execute(TAKE_NUMBER)

        people.work(steps=3)

        assert states(people) == ["documents"]


@pytest.mark.timeout(30)
def test_one_that_waits_takes_no_time_from_those_that_can_go_on(
    people: People, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.send(*(event(f"e{number}", "other") for number in range(8)))
    people.ask_to_erase("first")
    stage = people.stage()
    while states(people) != ["events"]:
        stage.step(0)
    monkeypatch.setattr(erasure, "_PAGE_EVENTS", 1)
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 600.0)
    with psycopg.connect(database_url) as long:
        long.execute(TAKE_NUMBER)
        people.ask_to_erase("second")

        while states(people) == ["events", "requested"]:
            stage.step(0)

        assert states(people) == ["documents", "requested"]


def test_a_tenants_customers_are_looked_for_in_search_together(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def remove(connection: Any, client: Any, tenant_id: int, filters: Any) -> Counter[str]:
        asked.append(tenant_id)
        return remove_documents(connection, client, tenant_id, filters)

    monkeypatch.setattr(erasure, "remove_documents", remove)
    names = ["first", "second", "third"]
    people.send(
        *(event(f"e{number}-{name}", name) for name in names for number in range(2)), event("e", "kept")
    )
    people.send(event("e", "first"), tenant=OTHER_TENANT)
    paths = [people.ask_to_erase(name, LATER + timedelta(seconds=at)) for at, name in enumerate(names)]
    people.send(event("again", "first"), received_at=LATER + timedelta(seconds=1))

    people.work()

    assert asked == [TENANT]
    assert [people.receipt(path)["erased"]["documents"] for path in paths] == [2, 2, 2]
    found = sorted((each["tenant_id"], each["event_id"]) for each in people.documents().values())
    assert found == sorted([(TENANT, "again"), (TENANT, "e"), (OTHER_TENANT, "e")])


def test_a_customer_who_only_came_after_the_request_is_not_counted(people: People) -> None:
    paths = [people.ask_to_erase(at=LATER + timedelta(seconds=at)) for at in (0, 1)]
    people.send(
        event("e1"),
        event("e2", kind="customer_updated", name="Ada"),
        received_at=LATER + timedelta(seconds=2),
    )

    people.work()

    assert [people.receipt(path)["erased"]["customers"] for path in paths] == [0, 0]
    assert people.count("customers") == 1


def test_two_erasures_of_one_customer_count_each_row_once(people: People) -> None:
    people.send(event("e1"), event("e2"))
    people.send(event("e3"), received_at=LATER + timedelta(seconds=1))
    paths = [people.ask_to_erase(at=LATER + timedelta(seconds=seconds)) for seconds in (0, 2, 2)]

    people.work()

    erased = [people.receipt(path)["erased"] for path in paths]
    assert people.count("events") == people.count("signals") == 0
    assert [(each["events"], each["signals"]) for each in erased[:1]] == [(2, 2)]
    assert sorted((each["events"], each["signals"]) for each in erased[1:]) == [(0, 0), (1, 1)]


def test_a_batch_that_locks_refusals_before_customers_is_no_deadlock(
    people: People, api_store: Any, database_url: str, monkeypatch: pytest.MonkeyPatch, until: Any
) -> None:
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 0.02)
    people.send(event("e1"), event("x", kind="visit"))
    path = people.ask_to_erase()
    stage = people.stage()

    with psycopg.connect(database_url) as batch, ThreadPoolExecutor() as threads:
        with psycopg.connect(database_url) as long:
            long.execute(TAKE_NUMBER)
            stage.step(0)  # so that the erasure waits for this one, and not for the batch
            batch.execute("UPDATE rejected_events SET rejected_at = now() WHERE tenant_id = %s", (TENANT,))
        step = threads.submit(stage.step, 0)
        until(api_store.waiting_for_locks)
        batch.execute("UPDATE customers SET heat = 1 WHERE tenant_id = %s", (TENANT,))
        batch.commit()
        step.result()

    people.work()
    assert people.receipt(path)["status"] == "done"
    assert people.receipt(path)["erased"]["rejected_events"] == 1
