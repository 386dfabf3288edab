"""One event that cannot be processed or stored is found and refused alone; a fault of ours refuses none."""

import psycopg
import pytest
from ingest_pipeline import IngestPipeline as Pipeline
from ingest_pipeline import validation_breaking_at
from ingesting import LANE, StoreFailingFor, drain, purchase, purchases

from common.queue.streams import depth
from worker.ingest.isolation import BatchFailedError


def test_an_event_that_postgresql_cannot_hold_is_refused_alone(pipeline: Pipeline) -> None:
    pipeline.push(*purchases(10), purchase("bad", amount="x"))
    stage = pipeline.stage(store=StoreFailingFor(pipeline.pool, "e5", psycopg.DataError))
    drain(stage)

    assert pipeline.value("SELECT count(*) FROM events") == 9
    refused = pipeline.rows("SELECT event_id, code FROM rejected_events ORDER BY event_id")
    assert [(row["event_id"], row["code"]) for row in refused] == [
        ("bad", "schema_violation"),
        ("e5", "unstorable"),
    ]


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize("refused", [0, 1])
def test_the_guilty_event_is_found_wherever_it_stands(pipeline: Pipeline, bad: int, refused: int) -> None:
    pipeline.push(*purchases(3))
    if refused:
        pipeline.push(purchase("invalid", amount="x"))
    stage = pipeline.stage(store=StoreFailingFor(pipeline.pool, f"e{bad}", psycopg.DataError))
    drain(stage)

    assert pipeline.value("SELECT count(*) FROM events") == 2
    assert pipeline.value("SELECT count(*) FROM rejected_events") == 1 + refused
    assert depth(pipeline.redis) == {}


def test_an_event_that_breaks_our_code_is_refused_alone(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ingest.preparation.validate", validation_breaking_at("e1"))
    pipeline.push(*purchases(3))

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 2
    (refused,) = pipeline.rows("SELECT event_id, code FROM rejected_events")
    assert (refused["event_id"], refused["code"]) == ("e1", "processing_failed")


@pytest.mark.parametrize("bad", [0, 5])
def test_an_event_that_breaks_our_code_while_it_is_stored_is_refused_alone(
    pipeline: Pipeline, bad: int
) -> None:
    pipeline.push(*purchases(6))
    stage = pipeline.stage(store=StoreFailingFor(pipeline.pool, f"e{bad}", ZeroDivisionError))
    drain(stage)

    assert pipeline.value("SELECT count(*) FROM events") == 5
    (refused,) = pipeline.rows("SELECT event_id, code FROM rejected_events")
    assert (refused["event_id"], refused["code"]) == (f"e{bad}", "processing_failed")
    assert depth(pipeline.redis) == {}


def test_a_fault_of_the_schema_refuses_nothing_and_keeps_the_work(pipeline: Pipeline) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute("ALTER TABLE customers RENAME COLUMN totals TO sums")
    pipeline.push(*purchases(5))

    stage = pipeline.stage()
    for _ in range(3):
        with pytest.raises(BatchFailedError, match="UndefinedColumn"):
            stage.step(0)
    assert pipeline.value("SELECT count(*) FROM rejected_events") == 0
    assert depth(pipeline.redis) == {LANE: 5}

    with pipeline.pool.connection() as connection:
        connection.execute("ALTER TABLE customers RENAME COLUMN sums TO totals")
    assert stage.step(0) == 5
    assert pipeline.value("SELECT count(*) FROM events") == 5
