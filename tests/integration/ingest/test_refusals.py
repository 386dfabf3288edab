"""Events that validation refuses, and the event types by which it does so."""

import pytest
from ingest_pipeline import IngestPipeline as Pipeline
from ingesting import drain, purchase

from common.queue.streams import depth


@pytest.mark.parametrize(
    ("raw", "code", "path"),
    [
        (purchase("bad", event_type="no_such_type"), "unknown_event_type", "/event_type"),
        (purchase("bad", data={"amount": "-1", "currency": "USD"}), "schema_violation", "/data/amount"),
        (
            purchase("bad", data={"amount": 1, "currency": "USD", "note": "\0"}),
            "unsupported_character",
            "/data/note",
        ),
        (purchase("bad").replace(b'"10.00"', b"1e-5000"), "number_out_of_range", "/data/amount"),
    ],
)
def test_a_refused_event_is_kept_with_its_reason_and_harms_no_neighbour(
    pipeline: Pipeline, raw: bytes, code: str, path: str
) -> None:
    pipeline.push(purchase("e1"), raw, purchase("e2"))

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 2
    (refused,) = pipeline.rows("SELECT * FROM rejected_events")
    assert (refused["code"], refused["path"], refused["raw"]) == (code, path, raw.decode())
    assert (refused["event_id"], refused["customer_id"], refused["status"]) == ("bad", "c1", "open")
    assert depth(pipeline.redis) == {}


def test_a_refused_event_does_not_claim_its_id(pipeline: Pipeline) -> None:
    pipeline.push(purchase("e1", amount="nonsense"))
    pipeline.drain()
    pipeline.push(purchase("e1", amount="3.00"))
    pipeline.drain()

    assert pipeline.value("SELECT totals->>'USD' FROM customers") == "3.00"


def test_the_same_refused_event_again_is_one_row(pipeline: Pipeline) -> None:
    for _ in range(3):
        pipeline.push(purchase("e1", amount="nonsense"))
        pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM rejected_events") == 1


def test_a_type_of_a_tenant_that_cannot_be_used_stops_nobody(pipeline: Pipeline) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute(
            "INSERT INTO event_types (tenant_id, event_type, version, schema) VALUES"
            """ (7, 'broken', 1, '{"type": 17}'), (7, 'abroad', 1, '{"$ref": "http://127.0.0.1:1/x.json"}')"""
        )
    pipeline.push(purchase("e1"), purchase("b1", event_type="broken"), purchase("b2", event_type="abroad"))

    pipeline.drain()

    assert pipeline.value("SELECT count(*) FROM events") == 1
    codes = pipeline.rows("SELECT DISTINCT code FROM rejected_events")
    assert codes == [{"code": "unknown_event_type"}]


def test_a_type_that_a_tenant_registers_is_accepted_without_a_restart(pipeline: Pipeline) -> None:
    raw = purchase("e1", event_type="webinar_attended", data={"title": "Scaling"})
    stage = pipeline.stage()
    stage._types_loaded = float("-inf")
    with pipeline.pool.connection() as connection:
        connection.execute(
            "INSERT INTO event_types (tenant_id, event_type, version, schema, signal_type, signal_score)"
            """ VALUES (7, 'webinar_attended', 1, '{"required": ["title"]}', 'engagement', 0.4)"""
        )
    pipeline.push(raw, tenant=7)
    pipeline.push(raw, tenant=8)
    drain(stage)

    (signal,) = pipeline.rows("SELECT tenant_id, signal_type, signal_score FROM signals")
    assert (signal["tenant_id"], signal["signal_type"]) == (7, "engagement")
    (refused,) = pipeline.rows("SELECT tenant_id, code FROM rejected_events")
    assert (refused["tenant_id"], refused["code"]) == (8, "unknown_event_type")
