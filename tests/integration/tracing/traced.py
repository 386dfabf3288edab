"""A platform that traces into memory: an API, an ingest and an index stage, and the spans that they made."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx
from ingest_pipeline import IngestPipeline
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

from common.queue.streams import STREAMS
from common.services import Services
from common.tracing.otel import OtelTracing
from worker.domains import DOMAINS
from worker.index.stage import IndexStage
from worker.ingest.stage import IngestStage
from worker.store.batch import Store
from worker.validation.events import EventTypes

CLIENTS_TRACE, CLIENTS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = "01", "00"


def traceparent(trace: str = CLIENTS_TRACE, span: str = CLIENTS_SPAN, flags: str = SAMPLED) -> str:
    return f"00-{trace}-{span}-{flags}"


def purchase(event_id: str, **changes: Any) -> dict[str, Any]:
    data = {"amount": "49.90", "currency": "USD", "product": "Pro plan"}
    return {"event_id": event_id, "event_type": "purchase", "customer_id": "c1", "data": data} | changes


class Spans:
    """What was exported so far."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def tracing(self, service: str) -> OtelTracing:
        return OtelTracing(service, SimpleSpanProcessor(self.exporter))

    def all(self, name: str = "") -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if not name or span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.all(name)
        return span

    def names(self) -> set[str]:
        return {span.name for span in self.all()}

    def below(self, parent: ReadableSpan) -> dict[str, ReadableSpan]:
        """The spans that are parts of `parent`, by their names."""
        return {
            span.name: span for span in self.all() if span.parent and span_id(span.parent) == id_of(parent)
        }


def trace_id(context: SpanContext | None) -> str:
    assert context
    return format_trace_id(context.trace_id)


def span_id(context: SpanContext | None) -> str:
    assert context
    return format_span_id(context.span_id)


def trace_of(span: ReadableSpan) -> str:
    return trace_id(span.context)


def id_of(span: ReadableSpan) -> str:
    return span_id(span.context)


def parent_of(span: ReadableSpan) -> str | None:
    return span_id(span.parent) if span.parent else None


def linked(span: ReadableSpan) -> set[tuple[str, str]]:
    return {(trace_id(link.context), span_id(link.context)) for link in span.links}


def contexts_of(spans: Iterable[ReadableSpan]) -> set[tuple[str, str]]:
    return {(trace_of(span), id_of(span)) for span in spans}


@dataclass
class TracedPlatform:
    """An API of tenant seven, and what works off its events when told to."""

    api: httpx.Client
    pipeline: IngestPipeline
    services: Services
    spans: Spans

    def send(self, *event_ids: str, **headers: str) -> httpx.Response:
        events = [purchase(event_id) for event_id in event_ids]
        return self.api.post("/v1/events", content=json.dumps(events), headers=_JSON | headers)

    def store(self, name: str = "drain") -> int:
        s = self.services
        store = Store(s.pool, s.tracing)
        stage = IngestStage(name, s, store=store, types=EventTypes(DOMAINS), guard=self.pipeline.guard)
        stage._read_size.entries_of_a_lane = 512  # all that waits is one batch
        stage.rescue({name})
        handled = 0
        while count := stage.step(0):
            handled += count
        stage.close()
        return handled

    def index(self) -> int:
        s = self.services
        stage = IndexStage(s.pool, s.search, s.metrics, s.settings, s.clock, s.tracing)
        handled = stage.step(0)
        stage.close()
        return handled

    def lane_fields(self) -> list[dict[bytes, bytes]]:
        found: Any = [self.pipeline.redis.xrange(stream) for stream in STREAMS]
        return [fields for entries in found for _, fields in entries]


_JSON = {"Content-Type": "application/json"}
