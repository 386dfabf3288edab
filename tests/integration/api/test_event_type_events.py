"""What becomes of events of a tenant's own types, as the types and their versions come and go."""

from typing import Any

import httpx
from own_event_types import SCHEMA, change, put, refused, send, stored

from worker.store.batch import Store


def test_what_was_refused_before_the_type_was_there_comes_in_by_a_replay(
    seven: httpx.Client, pipeline: Any
) -> None:
    send(pipeline, {"store": "north"}, {"store": 7})
    assert refused(pipeline) == {"e0": "unknown_event_type", "e1": "unknown_event_type"}

    assert put(seven, signal_type="intent", signal_score=0.7).status_code == 201
    assert seven.post("/v1/rejected/replay", json={"event_type": "visit"}).json()["replayed"] == 2
    pipeline.drain()

    assert (stored(pipeline), refused(pipeline)) == (["e0"], {"e1": "schema_violation"})
    (signal,) = pipeline.rows("SELECT signal_type, signal_score FROM signals")
    assert (signal["signal_type"], round(signal["signal_score"], 3)) == ("intent", 0.7)


def test_a_deprecated_version_goes_on_accepting_and_a_retired_one_does_not(
    seven: httpx.Client, pipeline: Any
) -> None:
    put(seven)
    put(seven, {"required": ["shop"]}, compatibility="none")
    change(seven, 1, "deprecated")
    send(pipeline, {"store": "north"}, {"shop": "north"})
    assert stored(pipeline) == ["e0", "e1"]

    change(seven, 1, "retired")
    send(pipeline, {"store": "north"}, {"shop": "north"}, first=2)
    assert (stored(pipeline), refused(pipeline)) == (["e0", "e1", "e3"], {"e2": "schema_violation"})

    change(seven, 2, "retired")
    send(pipeline, {"shop": "north"}, first=4)
    assert refused(pipeline)["e4"] == "unknown_event_type"

    change(seven, 1, "active")
    seven.post("/v1/rejected/replay")
    pipeline.drain()
    assert stored(pipeline) == ["e0", "e1", "e2", "e3"]


def test_a_worker_reads_no_schema_twice(seven: httpx.Client, pipeline: Any) -> None:
    put(seven)
    store = Store(pipeline.pool)
    (first,) = known = store.tenant_types()

    put(seven, signal_score=0.9)
    again = store.tenant_types(known)
    change(seven, 1, "retired")

    assert again[0] is first
    assert [(row.version, row.schema) for row in again] == [(1, SCHEMA), (2, SCHEMA)]
    assert store.tenant_types(again) == again[1:]
