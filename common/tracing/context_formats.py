"""Trace contexts as requests bring them, and as they travel with events."""

from collections.abc import Iterable
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from common.tracing.contexts import context_text

_propagator: Final = TraceContextTextMapPropagator()


def extract_context(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """The context that a request names; an empty one if it names none, more than one, or none that is valid."""
    parents = []
    states = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value.decode("latin-1"))
        elif name == b"tracestate":
            states.append(value.decode("latin-1"))
    if len(parents) != 1:
        return Context()
    return _propagator.extract({"traceparent": parents, "tracestate": states}, Context())


def write_context(context: SpanContext) -> str:
    """A context as it travels with events, see `common.tracing.contexts`."""
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    return context_text(parent, context.trace_state.to_header())


def read_context(text: str) -> SpanContext | None:
    """The inverse of `write_context`; None if it is none, or not sampled."""
    parent, _, state = text.partition(" ")
    extracted = _propagator.extract({"traceparent": [parent], "tracestate": [state]}, Context())
    found = get_current_span(extracted).get_span_context()
    return found if found.is_valid and found.trace_flags.sampled else None
