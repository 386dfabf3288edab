"""Contexts in the queue and the outbox: through deaths, repetition, upgrades and nonsense."""

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from opentelemetry.trace import StatusCode
from traced import CLIENTS_TRACE, Spans, TracedPlatform, contexts_of, linked, trace_of, traceparent

from common.queue.lane_consumer import LaneConsumer
from common.queue.queued_bytes import BYTES_KEY
from common.queue.streams import Record, encode_entry, entry_size, lane_of
from worker.ingest.guard import GuardLimits, RefusalGuard

PUBLISH, PROCESS, INDEX = "publish sspp:ingest", "process sspp:ingest", "process outbox"


def test_contexts_leave_nothing_behind_in_the_count_of_queued_bytes(platform: TracedPlatform) -> None:
    platform.send("e1", traceparent=traceparent())
    redis = platform.pipeline.redis
    assert int(redis.hget(BYTES_KEY, "7") or 0) == entry_size(platform.lane_fields()[0])
    platform.store()
    assert redis.hget(BYTES_KEY, "7") is None
    assert redis.hget(BYTES_KEY, "total") is None


def test_what_a_dead_worker_had_taken_keeps_its_context(platform: TracedPlatform, spans: Spans) -> None:
    platform.send("e1", traceparent=traceparent())
    dead = LaneConsumer(platform.pipeline.redis, "dead")
    dead.create_groups()
    assert len(dead.read(1, 0)) == 1
    assert platform.store("living") == 1
    assert linked(spans.one(PROCESS)) == contexts_of(spans.all(PUBLISH))


def test_the_same_request_sent_twice_is_two_spans_and_one_event(
    platform: TracedPlatform, spans: Spans
) -> None:
    for _ in range(2):
        platform.send("e1", traceparent=traceparent())
        platform.store()
    platform.index()
    assert len(spans.all(PROCESS)) == 2
    assert len(spans.all(INDEX)) == 1
    assert platform.pipeline.value("SELECT count(*) FROM events") == 1


def test_what_was_withheld_comes_back_without_its_context(platform: TracedPlatform, spans: Spans) -> None:
    platform.pipeline.guard = RefusalGuard(GuardLimits(max_share=0, grace=0))
    wrong = {"event_id": "e1", "event_type": "purchase", "customer_id": "c1", "data": {"amount": "none"}}
    platform.api.post("/v1/events", json=wrong, headers={"traceparent": traceparent()})
    platform.store()
    [(_, fields)] = platform.pipeline.redis.xrange("sspp:ingest:withheld:7")
    assert b"traces" not in fields
    assert len(spans.all(PROCESS)) == 1


@pytest.mark.parametrize(
    "traces", [b"nonsense", b"\xff\xfe\n\n\x00", traceparent("0" * 32).encode(), b"\n" * 1000]
)
def test_nonsense_in_the_queue_is_stored_without_a_trace(
    platform: TracedPlatform, spans: Spans, traces: bytes
) -> None:
    event = b'{"event_id":"e1","event_type":"page_viewed","customer_id":"c","data":{"url":"https://a.test/"}}'
    record = Record("e1", datetime.now(UTC), event)
    platform.pipeline.redis.xadd(lane_of(7), encode_entry(7, [record]) | {b"traces": traces})
    assert platform.store() == 1
    assert platform.pipeline.value("SELECT count(*) FROM events") == 1
    assert spans.all() == []


def test_nonsense_in_the_outbox_is_indexed_without_a_trace(platform: TracedPlatform, spans: Spans) -> None:
    platform.send("e1", traceparent=traceparent())
    platform.store()
    platform.pipeline.rows("UPDATE outbox SET trace_context = 'ö nonsense' RETURNING 1")
    assert platform.index() == 1
    assert spans.all(INDEX) == []
    assert platform.pipeline.value("SELECT count(*) FROM outbox WHERE indexed_at IS NULL") == 0


def test_rows_of_workers_that_know_of_no_traces_are_indexed(platform: TracedPlatform, spans: Spans) -> None:
    platform.send("e1", traceparent=traceparent())
    platform.store()
    platform.pipeline.rows("UPDATE outbox SET trace_context = NULL RETURNING 1")
    assert platform.index() == 1
    assert spans.all(INDEX) == []


def test_what_is_sent_to_the_index_again_is_no_part_of_the_trace(
    platform: TracedPlatform, spans: Spans
) -> None:
    platform.send("e1", traceparent=traceparent())
    platform.store()
    platform.pipeline.rows("UPDATE outbox SET attempts = -1 RETURNING 1")
    assert platform.index() == 1
    assert spans.all(INDEX) == []


def test_what_is_stored_again_after_a_failure_is_in_the_trace_with_it(
    platform: TracedPlatform, spans: Spans
) -> None:
    platform.send("e1", traceparent=traceparent())
    with platform.services.pool.connection() as connection:
        connection.execute("ALTER TABLE usage_parts RENAME TO elsewhere")
    with pytest.raises(Exception, match="no event can cause"):
        platform.store("first")
    with platform.services.pool.connection() as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO usage_parts")
    assert platform.store("second") == 1

    failed, stored = spans.all(PROCESS)
    assert trace_of(failed) == trace_of(stored) == CLIENTS_TRACE
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, None)
    assert attributes(failed)["error.type"] == "batch_failed"
    statement = spans.below(failed)["insert_usage_parts"]
    assert attributes(statement)["db.response.status_code"] == psycopg.errors.UndefinedTable.sqlstate
    assert failed.events == statement.events == ()  # no exception's words
    assert stored.status.status_code is StatusCode.UNSET


def attributes(span: Any) -> dict[str, Any]:
    return dict(span.attributes)
