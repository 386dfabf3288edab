"""What a process traces by, and the one that traces nothing."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from elasticsearch import Elasticsearch
from psycopg import Connection

from common.tracing.sources import Source

_NOTHING: AbstractContextManager[None] = nullcontext()


class Publication(Protocol):
    """The span of events on their way into the queue."""

    context: str
    """What is to travel with them."""

    def end(self, streams: Iterable[str], error: Exception | None) -> None:
        """They are durable in `streams`, or are not because of `error`."""
        ...


class ServedRequest(Protocol):
    """The span of a request that is being answered."""

    def answered(self, route: str, status: int) -> None:
        """It was, by this route and with this HTTP status; 0 if it ended without an answer."""
        ...


class Tracing:
    """Traces nothing, imports nothing, costs nothing: what a process has unless it is told to trace.

    `common.tracing.otel` has the one that traces, `common.tracing.opening` tells which one a process has.
    """

    is_on = False

    connection_class: type[Connection] = Connection
    """Of connections to PostgreSQL, whose statements are part of the span that they are made in."""

    search_class: type[Elasticsearch] = Elasticsearch
    """Of clients for Elasticsearch, likewise."""

    def serving(
        self,
        method: str,  # noqa: ARG002
        headers: Iterable[tuple[bytes, bytes]],  # noqa: ARG002
    ) -> AbstractContextManager[ServedRequest | None]:
        """The span of a request, a part of the trace that its headers name; None if it is not recorded.

        It is the current span while the context lasts, and its ids are on the log's lines.
        """
        return _NOTHING

    def publish(self, tenant_id: int, events: int) -> Publication | None:  # noqa: ARG002
        """Begin the span of events on their way into the queue, a part of the current span; None if that is none."""
        return None

    def processing(
        self,
        source: Source,  # noqa: ARG002
        contexts: Iterable[str],  # noqa: ARG002
        messages: int,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """The span of a batch, as long as the context lasts, if any of its messages came with one of `contexts`.

        Of a single context it is a part; of several it is linked to each, and begins a trace of its own. Never fails
        for what stands in `contexts`.
        """
        return _NOTHING

    def current_context(self) -> str | None:
        """What is to travel with work that is left to others here; None outside of a recorded span."""
        return None

    def close(self) -> None:
        """Export what is left, for a few seconds at most."""


NO_TRACING = Tracing()
