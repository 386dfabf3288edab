"""From a client's request to the index, one trace."""

from typing import Any

import pytest
import structlog
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs
from traced import (
    CLIENTS_SPAN,
    CLIENTS_TRACE,
    UNSAMPLED,
    Spans,
    TracedPlatform,
    contexts_of,
    id_of,
    linked,
    parent_of,
    purchase,
    trace_of,
    traceparent,
)

REQUEST, PUBLISH = "POST /v1/events", "publish sspp:ingest"
PROCESS, INDEX = "process sspp:ingest", "process outbox"


def test_a_request_and_all_that_follows_from_it_are_one_trace(platform: TracedPlatform, spans: Spans) -> None:
    answer = platform.send("e1", traceparent=traceparent())
    assert answer.status_code == 202
    assert platform.store() == 1
    assert platform.index() == 1

    request, publish = spans.one(REQUEST), spans.one(PUBLISH)
    process, index = spans.one(PROCESS), spans.one(INDEX)
    assert [span.kind for span in (request, publish, process, index)] == [
        SpanKind.SERVER,
        SpanKind.PRODUCER,
        SpanKind.CONSUMER,
        SpanKind.CONSUMER,
    ]
    assert {trace_of(span) for span in spans.all()} == {CLIENTS_TRACE}
    assert parent_of(request) == CLIENTS_SPAN
    assert parent_of(publish) == id_of(request)
    assert parent_of(process) == id_of(publish)
    assert linked(process) == contexts_of([publish])
    assert parent_of(index) == id_of(process)
    assert linked(index) == contexts_of([process])

    statements = {name: span for name, span in spans.below(process).items() if span is not index}
    assert statements.keys() >= {
        "insert_event_keys", "copy_events", "copy_signals", "insert_outbox", "upsert_customers", "COMMIT"
    }  # fmt: skip
    requests = spans.below(index)
    assert requests.keys() >= {"bulk", "mark_indexed"}
    assert requests["bulk"].attributes["db.system.name"] == "elasticsearch"
    clients = [*statements.values(), *requests.values()]
    assert {span.kind for span in clients} == {SpanKind.CLIENT}
    # What asks a search server for more than it can do may fail, and then says so.
    ours = [request, publish, process, index, *statements.values(), requests["bulk"]]
    assert {span.status.status_code for span in ours} == {StatusCode.UNSET}


def test_spans_say_what_opentelemetry_has_names_for(platform: TracedPlatform, spans: Spans) -> None:
    platform.send("e1", "e2", traceparent=traceparent())
    platform.store()
    request = dict(spans.one(REQUEST).attributes or {})
    assert request == {
        "http.request.method": "POST",
        "http.route": "/v1/events",
        "http.response.status_code": 202,
    }
    publish = dict(spans.one(PUBLISH).attributes or {})
    assert publish == {
        "messaging.system": "redis",
        "messaging.destination.name": "sspp:ingest",
        "messaging.destination.partition.id": "7",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "publish",
        "messaging.batch.message_count": 2,
        "sspp.tenant_id": 7,
    }
    process = dict(spans.one(PROCESS).attributes or {})
    assert process == {
        "messaging.system": "redis",
        "messaging.destination.name": "sspp:ingest",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.batch.message_count": 2,
        "messaging.consumer.group.name": "workers",
    }
    assert spans.one(REQUEST).resource.attributes["service.name"] == "sspp-api"
    assert spans.one(PROCESS).resource.attributes["service.name"] == "sspp-worker"


def test_nothing_that_people_sent_stands_in_a_span(platform: TracedPlatform, spans: Spans) -> None:
    secret = "quite-unmistakable"
    body = [
        {
            "event_id": f"{secret}-{number}",
            "event_type": "purchase",
            "customer_id": secret,
            "trace_id": secret,
            "data": data,
        }
        for number, data in enumerate(
            [{"amount": "1.00", "currency": "USD", "product": secret}, {"amount": "no", "note": secret}]
        )
    ]
    platform.api.post("/v1/events", json=body, headers={"traceparent": traceparent()})
    platform.store()
    platform.index()
    platform.api.get(f"/v1/customers/{secret}", headers={"traceparent": traceparent()})
    assert spans.names() >= {REQUEST, PROCESS, INDEX, "GET /v1/customers/{customer_id}"}
    key = str(platform.api.headers["Authorization"]).removeprefix("Bearer ")
    for span in spans.all():
        said = span.to_json()
        assert secret not in said
        assert key not in said


def test_a_batch_is_linked_to_each_of_many_requests(platform: TracedPlatform, spans: Spans) -> None:
    traces = [f"{number:032x}" for number in range(1, 31)]
    for number, trace in enumerate(traces):
        platform.send(f"e{number}", traceparent=traceparent(trace))
    assert platform.store() == len(traces)
    platform.index()

    publishes = spans.all(PUBLISH)
    assert {trace_of(span) for span in publishes} == set(traces)
    process, index = spans.one(PROCESS), spans.one(INDEX)
    assert process.parent is None
    assert trace_of(process) not in traces
    assert linked(process) == contexts_of(publishes)
    # The index has one batch to go on from, so it goes on in that batch's trace.
    assert (trace_of(index), parent_of(index)) == (trace_of(process), id_of(process))


def test_a_batch_links_to_a_bounded_number_of_requests(platform: TracedPlatform, spans: Spans) -> None:
    for number in range(140):
        platform.send(f"e{number}", traceparent=traceparent(f"{number + 1:032x}"))
    assert platform.store() == 140
    assert len(spans.one(PROCESS).links) == 128


def test_an_index_batch_of_several_stored_batches_is_linked_to_each(
    platform: TracedPlatform, spans: Spans
) -> None:
    for number in (1, 2):
        platform.send(f"e{number}", traceparent=traceparent(f"{number:032x}"))
        platform.store()
    platform.index()
    index = spans.one(INDEX)
    assert index.parent is None
    assert linked(index) == contexts_of(spans.all(PROCESS))


def test_one_sampled_request_among_others_has_the_batch_in_its_trace(
    platform: TracedPlatform, spans: Spans
) -> None:
    for number in range(5):
        platform.send(f"u{number}", traceparent=traceparent(f"{number + 1:032x}", flags=UNSAMPLED))
    platform.send("s", traceparent=traceparent())
    assert platform.store() == 6
    assert {trace_of(span) for span in spans.all()} == {CLIENTS_TRACE}
    assert parent_of(spans.one(PROCESS)) == id_of(spans.one(PUBLISH))


def test_of_unsampled_requests_nothing_travels_and_nothing_is_recorded(
    platform: TracedPlatform, spans: Spans
) -> None:
    platform.send("e1", traceparent=traceparent(flags=UNSAMPLED))
    [fields] = platform.lane_fields()
    assert fields.keys() == {b"tenant", b"events", b"bytes", b"records"}
    platform.store()
    assert platform.pipeline.rows("SELECT trace_context FROM outbox") == [{"trace_context": None}]
    platform.index()
    assert spans.all() == []


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-{CLIENTS_SPAN}-01",
        f"00-{CLIENTS_TRACE}-{'0' * 16}-01",
        f"00-{CLIENTS_TRACE.upper()}-{CLIENTS_SPAN}-01",
        f"ff-{CLIENTS_TRACE}-{CLIENTS_SPAN}-01",
        f"00-{CLIENTS_TRACE}-{CLIENTS_SPAN}-01-more",
        f"00-{CLIENTS_TRACE}-{CLIENTS_SPAN}",
        "00-" + "f" * 5000,
    ],
)
def test_an_invalid_traceparent_is_ignored(platform: TracedPlatform, spans: Spans, header: str) -> None:
    answer = platform.send("e1", traceparent=header, tracestate="vendor=1")
    assert answer.status_code == 202
    request = spans.one(REQUEST)
    assert request.parent is None
    assert trace_of(request) != CLIENTS_TRACE
    assert not request.context.trace_state  # of no use without its parent


def test_two_traceparents_are_none(platform: TracedPlatform, spans: Spans) -> None:
    headers = [("traceparent", traceparent()), ("traceparent", traceparent("1" * 32))]
    assert platform.api.post("/v1/events", json=purchase("e1"), headers=headers).status_code == 202
    assert spans.one(REQUEST).parent is None


def test_a_later_version_of_traceparent_is_understood_as_far_as_it_goes(
    platform: TracedPlatform, spans: Spans
) -> None:
    platform.send("e1", traceparent=f"01-{CLIENTS_TRACE}-{CLIENTS_SPAN}-01-more")
    assert parent_of(spans.one(REQUEST)) == CLIENTS_SPAN


def test_tracestate_goes_all_the_way(platform: TracedPlatform, spans: Spans) -> None:
    platform.send("e1", traceparent=traceparent(), tracestate="vendor=a b,other=2")
    platform.store()
    platform.index()
    for span in (spans.one(REQUEST), spans.one(PUBLISH), spans.one(PROCESS), spans.one(INDEX)):
        assert span.context.trace_state.to_header() == "vendor=a b,other=2"


def test_a_tracestate_that_is_too_long_stays_behind(platform: TracedPlatform, spans: Spans) -> None:
    platform.send("e1", traceparent=traceparent(), tracestate="vendor=" + "x" * 250 + ",other=" + "y" * 256)
    [fields] = platform.lane_fields()
    assert len(fields[b"traces"]) == 55
    platform.store()
    assert trace_of(spans.one(PROCESS)) == CLIENTS_TRACE


def test_without_a_clients_trace_the_platform_begins_one(platform: TracedPlatform, spans: Spans) -> None:
    platform.send("e1")
    platform.store()
    assert spans.one(REQUEST).parent is None
    assert len({trace_of(span) for span in spans.all()}) == 1


def test_by_ratio_batches_are_recorded_as_their_requests_are(platforms: Any, spans: Spans) -> None:
    with platforms(
        OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.000001"
    ) as platform:
        platform.send("u")
        assert spans.all() == []
        for number in (1, 2):
            platform.send(f"s{number}", traceparent=traceparent(f"{number:032x}"))
        platform.store()
        platform.index()
        assert len(spans.one(PROCESS).links) == 2
        assert spans.one(INDEX)


def test_a_request_that_ends_badly_says_so_without_its_words(platform: TracedPlatform, spans: Spans) -> None:
    answer = platform.send(traceparent=traceparent())
    assert answer.status_code == 422
    request = spans.one(REQUEST)
    assert request.attributes["http.response.status_code"] == 422
    assert request.status.status_code is StatusCode.UNSET  # the client's fault is none of the server's


def test_health_and_metrics_are_no_spans(platform: TracedPlatform, spans: Spans) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        platform.api.get(path, headers={"traceparent": traceparent()})
    assert spans.all() == []


def test_lines_of_the_log_name_the_trace_beside_the_events_own(
    platform: TracedPlatform, spans: Spans
) -> None:
    event = purchase("e1", trace_id="business")
    platform.api.post("/v1/events", json=event, headers={"traceparent": traceparent()})
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as log_lines:
        platform.store()
        platform.index()
    for name, span in (("batch_stored", spans.one(PROCESS)), ("batch_indexed", spans.one(INDEX))):
        [line] = [line for line in log_lines if line["event"] == name]
        assert (line["otel_trace_id"], line["otel_span_id"]) == (trace_of(span), id_of(span))
    [stored] = [line for line in log_lines if line["event"] == "batch_stored"]
    assert stored["trace_ids"] == ["business"]
