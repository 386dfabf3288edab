"""Which batches are recorded."""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanKind,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.util.types import Attributes


class LinksAsParents(Sampler):
    """Decides over a batch, whose span has links and no parent, as over a part of the first trace that it links to.

    The samplers of the SDK look at parents alone: with a ratio of 1 %, of a hundred batches with sampled events one
    would be recorded.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `Sampler.should_sample`."""
        has_parent = get_current_span(parent_context).get_span_context().is_valid
        if links and not has_parent:
            linked = links[0].context
            as_parent = set_span_in_context(NonRecordingSpan(linked), Context())
            found = self._sampler.should_sample(as_parent, linked.trace_id, name, kind, attributes, links)
            return SamplingResult(found.decision, found.attributes)
        return self._sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """See `Sampler.get_description`."""
        return f"LinksAsParents{{{self._sampler.get_description()}}}"
