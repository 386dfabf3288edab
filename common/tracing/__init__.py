"""Traces of OpenTelemetry, from the request to the index; off unless SSPP_TRACING is on (docs/adr/0017-traces.md)."""
