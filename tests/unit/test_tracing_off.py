"""Without SSPP_TRACING there are no traces, and nothing of OpenTelemetry's SDK is loaded for them."""

import json
import subprocess
import sys

import pytest
from patience import PATIENCE_SECONDS

from common.errors import SettingsError
from common.settings import Settings
from common.tracing.opening import check_tracing, open_tracing
from common.tracing.sources import INGEST
from common.tracing.tracing import NO_TRACING

_URLS = {
    "DATABASE_URL": "postgresql://127.0.0.1:1/x",
    "REDIS_URL": "redis://127.0.0.1:1",
    "ELASTICSEARCH_URL": "http://127.0.0.1:1",
}

_LOAD_ALL = """
import json, sys
from api.app import create_app
from common.services import open_services
from common.settings import load_settings
import worker.jobs
create_app(load_settings())
with open_services(load_settings(), application="test"):
    print(json.dumps(sorted(sys.modules)))
"""


def loaded(**changes: str) -> set[str]:
    answer = subprocess.run(
        [sys.executable, "-c", _LOAD_ALL],
        env=_URLS | changes,
        check=True,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    return set(json.loads(answer.stdout.splitlines()[-1]))


def of_tracing(modules: set[str]) -> set[str]:
    # The client libraries import OpenTelemetry's small API package by themselves, and redis-py the SDK's metrics.
    packages = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf")
    ours = ("common.tracing.otel", "common.tracing.postgresql", "common.tracing.elasticsearch")
    return {module for module in modules if module.startswith(packages) or module in ours}


def test_off_nothing_of_it_is_imported() -> None:
    assert of_tracing(loaded()) == set()


def test_on_it_is() -> None:
    found = of_tracing(loaded(SSPP_TRACING="true", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1"))
    assert found >= {"common.tracing.otel", "opentelemetry.sdk.trace"}


def test_off_nothing_is_recorded_and_nothing_travels() -> None:
    tracing = open_tracing(settings(), service="test")
    assert tracing is NO_TRACING
    assert tracing.publish(7, 1) is None

    def contexts() -> object:
        pytest.fail("nobody is to look at what travelled")
        yield ""

    with tracing.processing(INGEST, contexts(), 1):
        assert tracing.current_context() is None


def test_what_is_asked_for_and_not_installed_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("opentelemetry.sdk.trace")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with pytest.raises(SettingsError, match=r"pip install 'sspp\[otel\]'"):
        check_tracing(settings(tracing=True))
    check_tracing(settings())


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf"),
    ],
)
def test_ways_of_exporting_that_are_not_here_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, known: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}.*{known}"):
        check_tracing(settings(tracing=True))
    monkeypatch.setenv(name, known)
    check_tracing(settings(tracing=True))


def settings(**changes: object) -> Settings:
    return Settings.model_validate(_URLS | changes)
