"""Which tracing a process has: none, unless `SSPP_TRACING` is on."""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from common.errors import SettingsError
from common.settings import Settings
from common.tracing.tracing import NO_TRACING, Tracing

_NEEDED = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
# OpenTelemetry's variables that could ask for what is not here; each with the value that is, its default.
_ONLY_WAY = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
}


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
