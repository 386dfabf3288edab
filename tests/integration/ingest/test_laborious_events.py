"""Events that would take a worker too long to check: refused, kept, and harmless to all others."""

import json

from ingest_pipeline import IngestPipeline as Pipeline
from ingesting import purchase

SCHEMA = {"properties": {"x": {"items": {"anyOf": [*[{"multipleOf": 0.37}] * 980, True]}}}}


def test_an_event_that_would_take_too_long_to_check_is_kept_as_refused_and_others_are_stored(
    pipeline: Pipeline,
) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute(
            "INSERT INTO event_types (tenant_id, event_type, version, schema) VALUES (7, 'visit', 1, %s)",
            (json.dumps(SCHEMA),),
        )
    laborious = purchase("long", event_type="visit", data={"x": [1] * 100_000})
    pipeline.push(purchase("e1"), laborious, purchase("short", event_type="visit", data={"x": [1]}))

    pipeline.drain()

    stored = pipeline.rows("SELECT event_id FROM events ORDER BY event_id")
    assert [row["event_id"] for row in stored] == ["e1", "short"]
    (refused,) = pipeline.rows("SELECT code, path, raw, status FROM rejected_events")
    assert (refused["code"], refused["path"], refused["status"]) == ("too_laborious", "/data", "open")
    assert refused["raw"] == laborious.decode()
