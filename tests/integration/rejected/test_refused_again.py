"""What the refusal of an event becomes when the same event is sent again."""

from datetime import UTC, datetime, timedelta
from typing import Any

from withholding import Pipeline, bad, event

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=5)


def refuse(pipeline: Pipeline, raw: bytes, received_at: datetime) -> dict[str, Any]:
    pipeline.push(raw, received_at=received_at)
    pipeline.drain()
    (row,) = pipeline.rows("SELECT * FROM rejected_events")
    return row


def test_a_refusal_is_as_young_as_the_last_time_the_event_was_sent(pipeline: Pipeline) -> None:
    (raw,) = bad(1)

    assert [refuse(pipeline, raw, at)["received_at"] for at in (NOON, LATER, NOON)] == [NOON, LATER, LATER]


def test_a_refusal_that_is_merely_delivered_again_stays_as_it_is(pipeline: Pipeline) -> None:
    (raw,) = bad(1)

    assert refuse(pipeline, raw, NOON) == refuse(pipeline, raw, NOON)


def test_what_is_sent_again_counts_as_one_more_violation_and_what_is_delivered_again_does_not(
    pipeline: Pipeline,
) -> None:
    with pipeline.pool.connection() as connection:
        connection.execute(
            "INSERT INTO event_types (tenant_id, event_type, version, schema)"
            """ VALUES (7, 'own', 1, '{"required": ["size"]}')"""
        )
    for received_at, violations in ((NOON, 1), (NOON, 1), (LATER, 2), (NOON, 2)):
        refuse(pipeline, event("o1", "own"), received_at)
        assert pipeline.value("SELECT events FROM schema_violations") == violations
