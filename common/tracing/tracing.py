"""What a process traces: nothing, unless `SSPP_TRACING` is on."""

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

from elasticsearch import Elasticsearch
from psycopg import Connection

from common.errors import SettingsError
from common.settings import Settings
from common.tracing.sources import Source

_NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
# OpenTelemetry's variables that could ask for what is not here; each with the value that is, its default.
_ONLY_WAY = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
}
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

    `common.tracing.otel` has the one that traces.
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


def check_tracing(settings: Settings) -> None:
    """See that what is asked for can be had.

    Raises:
        SettingsError: OpenTelemetry is not installed, or asked for another way of exporting than ours.
    """
    if not settings.tracing:
        return
    if not all(_is_installed(module) for module in _NEEDED):
        raise SettingsError(
            "SSPP_TRACING is on, but OpenTelemetry's SDK and OTLP exporter are not installed; install the extra otel"
            " (pip install 'sspp[otel]'), or unset SSPP_TRACING"
        )
    for name, only in _ONLY_WAY.items():
        if (os.environ.get(name) or only) != only:
            raise SettingsError(
                f"{name}: traces are exported by OTLP over HTTP alone; unset it, or set it to {only}"
            )


def open_tracing(settings: Settings, *, service: str) -> Tracing:
    """What this process traces by; close it at its end.

    Args:
        settings: whether it traces at all. All else is OpenTelemetry's to read from the environment (``OTEL_*``).
        service: what the process is called unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say otherwise.

    Raises:
        SettingsError: as `check_tracing`.
    """
    if not settings.tracing:
        return NO_TRACING
    check_tracing(settings)
    # By name: whoever does not trace must not even import it.
    return cast("Tracing", import_module("common.tracing.otel").open_otel(service))


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # what it lies in is missing
        return False
