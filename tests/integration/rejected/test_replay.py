"""A replay has its effect once, however often it is begun and wherever it breaks off."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import psycopg
from withholding import SEVEN, new_guard, register_visit

from common.queue.streams import depth
from common.queue.withheld import WithheldEvents

# Fails like a serialization failure: a store's passing trouble, at the worst moment.
FAIL_TO_MARK = """
CREATE FUNCTION fail_to_mark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'not now' USING ERRCODE = '40001';
END $$;
CREATE TRIGGER fail_to_mark BEFORE UPDATE ON rejected_events
    FOR EACH ROW WHEN (NEW.status = 'replayed' AND NEW.event_id = '{event_id}') EXECUTE FUNCTION fail_to_mark();
"""


@contextmanager
def failing_to_mark(api_store: Any, event_id: str) -> Iterator[None]:
    api_store.execute(FAIL_TO_MARK.format(event_id=event_id))
    yield
    api_store.execute("DROP FUNCTION fail_to_mark CASCADE")


def refuse(pipeline: Any, count: int) -> None:
    events = [
        {"event_id": f"e{number:03}", "event_type": "visit", "customer_id": "c1", "data": {}}
        for number in range(count)
    ]
    pipeline.push(*(json.dumps(event).encode() for event in events))
    pipeline.drain()
    assert pipeline.value("SELECT count(*) FROM rejected_events") == count


def replay(client: httpx.Client, **body: Any) -> tuple[int, int]:
    answer = client.post("/v1/rejected/replay", json=body)
    return answer.status_code, answer.json().get("replayed", 0)


def break_off_a_replay(pipeline: Any, client: httpx.Client, api_store: Any, count: int, at: str) -> None:
    """Refuse events and replay them, as their type is there by then, but fail to mark the event `at`."""
    refuse(pipeline, count)
    register_visit(pipeline)
    with failing_to_mark(api_store, at):
        assert replay(client)[0] == 503


def statuses(pipeline: Any) -> dict[str, int]:
    rows = pipeline.rows("SELECT status, count(*) AS events FROM rejected_events GROUP BY 1")
    return {row["status"]: row["events"] for row in rows}


def assert_stored_once(pipeline: Any, count: int) -> None:
    assert pipeline.value("SELECT count(*) FROM events") == count
    assert pipeline.value("SELECT count(*) FROM signals") == count
    assert pipeline.value("SELECT signal_count FROM customers") == count
    assert depth(pipeline.redis) == {}


def test_the_same_refusals_replayed_twice_go_through_once(pipeline: Any, seven: httpx.Client) -> None:
    refuse(pipeline, 5)
    register_visit(pipeline)

    assert [replay(seven), replay(seven)] == [(200, 5), (200, 0)]
    pipeline.drain()
    assert replay(seven) == (200, 0)

    assert_stored_once(pipeline, 5)


def test_two_replays_at_once_share_the_work(pipeline: Any, seven: httpx.Client) -> None:
    refuse(pipeline, 250)
    register_visit(pipeline)
    together = threading.Barrier(2)

    def one(_: int) -> int:
        together.wait()
        replayed = 0
        while True:
            answer = seven.post("/v1/rejected/replay").json()
            replayed += answer["replayed"]
            if not answer["more"]:
                return replayed

    with ThreadPoolExecutor(2) as threads:
        assert sum(threads.map(one, range(2))) == 250
    assert sum(depth(pipeline.redis).values()) == 250
    pipeline.drain()

    assert_stored_once(pipeline, 250)
    assert statuses(pipeline) == {"replayed": 250}


def test_a_replay_that_was_pushed_and_not_marked_is_repeated_without_effect(
    pipeline: Any, seven: httpx.Client, api_store: Any
) -> None:
    break_off_a_replay(pipeline, seven, api_store, 3, at="e002")
    pipeline.drain()
    assert statuses(pipeline) == {"open": 3}
    assert_stored_once(pipeline, 3)

    assert replay(seven) == (200, 3)
    pipeline.drain()

    assert statuses(pipeline) == {"replayed": 3}
    assert_stored_once(pipeline, 3)


def test_a_replay_that_broke_off_half_way_is_taken_up_where_it_was(
    pipeline: Any, seven: httpx.Client, api_store: Any
) -> None:
    break_off_a_replay(pipeline, seven, api_store, 250, at="e150")
    marked = statuses(pipeline)["replayed"]
    assert 0 < marked < 250

    assert replay(seven) == (200, 250 - marked)
    pipeline.drain()

    assert_stored_once(pipeline, 250)


def test_what_is_refused_again_before_the_replay_is_marked_is_open_in_the_end(
    pipeline: Any, environment: dict[str, str], until: Any
) -> None:
    refuse(pipeline, 1)
    with psycopg.connect(environment["DATABASE_URL"]) as slow_replay:
        slow_replay.execute("SELECT FROM rejected_events FOR UPDATE")
        event = {"event_id": "e000", "event_type": "visit", "customer_id": "c1", "data": {}}
        pipeline.push(json.dumps(event).encode())
        worker = threading.Thread(target=pipeline.drain)
        worker.start()
        until(lambda: pipeline.value("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1)
        slow_replay.execute("UPDATE rejected_events SET status = 'replayed', replayed_at = now()")
    worker.join()

    assert statuses(pipeline) == {"open": 1}


def test_a_replay_of_many_that_are_no_better_is_withheld_and_open_again_after_the_release(
    pipeline: Any, seven: httpx.Client
) -> None:
    refuse(pipeline, 30)
    new_guard(pipeline)
    withheld = WithheldEvents(pipeline.redis)

    replay(seven)
    pipeline.drain()
    assert (statuses(pipeline), withheld.events()) == ({"replayed": 30}, {SEVEN: 30})

    withheld.release(SEVEN, timedelta(minutes=5))
    pipeline.drain()
    assert (statuses(pipeline), withheld.events()) == ({"open": 30}, {})
