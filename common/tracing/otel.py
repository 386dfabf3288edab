"""Traces by OpenTelemetry's SDK. `common.tracing.tracing` imports this where SSPP_TRACING is on, and nobody else does.

Names and attributes follow OpenTelemetry's semantic conventions for HTTP, messaging and databases. Nothing that people
sent becomes one: no payload, no path, no id of an event or a customer, no text of an error.

The provider is this object's own and never the global one: FastAPI, elasticsearch-py and redis-py would begin to tell
of requests by themselves, with ids in the paths.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanKind,
    StatusCode,
    get_current_span,
    set_span_in_context,
    use_span,
)

from common.tracing.context_formats import extract_context, read_context, write_context
from common.tracing.elasticsearch import traced_search
from common.tracing.postgresql import traced_connection
from common.tracing.sampling import LinksAsParents
from common.tracing.sources import INGEST, Source
from common.tracing.tracing import Publication, ServedRequest, Tracing

_CLOSING_SECONDS: Final = 3.0
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class OtelTracing(Tracing):
    """See `Tracing`.

    Args:
        service: what the process is called unless the environment says otherwise.
        processor: takes the spans that ended; by default, one that exports them by OTLP in a thread of its own, from a
            queue of bounded length: what an exporter cannot take in time is dropped, and nobody waits for it.
    """

    is_on = True

    def __init__(self, service: str, processor: SpanProcessor | None = None) -> None:
        self._provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
        self._provider.sampler = LinksAsParents(self._provider.sampler)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("sspp", _version())
        self.connection_class = traced_connection(self._client_span)
        self.search_class = traced_search(self._client_span)

    @contextmanager
    def serving(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[ServedRequest | None]:
        """See `Tracing.serving`."""
        name = method if method in _METHODS else "HTTP"
        attributes = {"http.request.method": method if method in _METHODS else "_OTHER"}
        span = self._tracer.start_span(name, extract_context(headers), SpanKind.SERVER, attributes)
        if not span.is_recording():  # nothing below it would be: the rest is spared
            yield None
            return
        with _current(span):
            yield _ServedRequest(span, name)

    def publish(self, tenant_id: int, events: int) -> Publication | None:
        """See `Tracing.publish`."""
        if not get_current_span().is_recording():
            return None
        attributes = _messaging(INGEST, "publish", events) | {"sspp.tenant_id": tenant_id}
        span = self._tracer.start_span(
            f"publish {INGEST.destination}", kind=SpanKind.PRODUCER, attributes=attributes
        )
        return _Publication(span)

    @contextmanager
    def processing(self, source: Source, contexts: Iterable[str], messages: int) -> Iterator[None]:
        """See `Tracing.processing`."""
        found = [context for text in contexts if (context := read_context(text))]
        if not found:
            yield
            return
        parent = set_span_in_context(NonRecordingSpan(found[0]), Context()) if len(found) == 1 else Context()
        links = [Link(context) for context in found]
        attributes = _messaging(source, "process", messages)
        name = f"process {source.destination}"
        with _current(self._tracer.start_span(name, parent, SpanKind.CONSUMER, attributes, links)):
            yield

    def current_context(self) -> str | None:
        """See `Tracing.current_context`."""
        span = get_current_span()
        return write_context(span.get_span_context()) if span.is_recording() else None

    def close(self) -> None:
        """See `Tracing.close`."""
        # The SDK would wait for half a minute where nobody answers.
        closing = threading.Thread(target=self._provider.shutdown, name="close-tracing", daemon=True)
        closing.start()
        closing.join(_CLOSING_SECONDS)

    def _client_span(
        self, name: str, attributes: dict[str, str | int]
    ) -> AbstractContextManager[Span | None]:
        """The span of one request to a store, as a part of the current span; none outside of a recorded one."""
        if not get_current_span().is_recording():
            return nullcontext()
        return self._finished(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes))

    @contextmanager
    def _finished(self, span: Span) -> Iterator[Span]:
        try:
            with _failures_noted(span):
                yield span
        finally:
            span.end()


def open_otel(service: str) -> OtelTracing:
    """What `open_tracing` opens."""
    return OtelTracing(service)


class _ServedRequest:
    def __init__(self, span: Span, method: str) -> None:
        self._span = span
        self._method = method

    def answered(self, route: str, status: int) -> None:
        if route:
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attribute("http.route", route)
        if status:
            self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            _fail(self._span, str(status))


class _Publication:
    def __init__(self, span: Span) -> None:
        self._span = span
        self.context = write_context(span.get_span_context())

    def end(self, streams: Iterable[str], error: Exception | None) -> None:
        partitions = sorted(stream.removeprefix(f"{INGEST.destination}:") for stream in streams)
        if partitions:
            self._span.set_attribute("messaging.destination.partition.id", ",".join(partitions))
        if error is not None:
            _fail(self._span, _error_type(error))
        self._span.end()


def _messaging(source: Source, operation: str, messages: int) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "messaging.system": source.system,
        "messaging.destination.name": source.destination,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.batch.message_count": messages,
    }
    if source.group and operation == "process":
        attributes["messaging.consumer.group.name"] = source.group
    return attributes


@contextmanager
def _current(span: Span) -> Iterator[None]:
    """Have `span` as the current one, and on the log's lines, until it ends with the context."""
    # What an exception says may quote what people sent.
    with (
        use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False),
        _failures_noted(span),
        _ids_logged(span),
    ):
        yield


@contextmanager
def _ids_logged(span: Span) -> Iterator[None]:
    """Have the span's ids on each line of the log, under names that no event's own `trace_id` has."""
    if not span.is_recording():
        yield
        return
    context = span.get_span_context()
    with structlog.contextvars.bound_contextvars(
        otel_trace_id=f"{context.trace_id:032x}", otel_span_id=f"{context.span_id:016x}"
    ):
        yield


@contextmanager
def _failures_noted(span: Span) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        _fail(span, _error_type(error))
        if sqlstate := getattr(error, "sqlstate", None):
            span.set_attribute("db.response.status_code", sqlstate)
        raise


def _error_type(error: Exception) -> str:
    return str(getattr(error, "code", None) or type(error).__qualname__)


def _fail(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)


def _resource(service: str) -> Resource:
    default = Resource({SERVICE_NAME: service, SERVICE_VERSION: _version()})
    return Resource.create(default.merge(OTELResourceDetector().detect()).attributes)


def _version() -> str:
    try:
        return version("sspp")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"
