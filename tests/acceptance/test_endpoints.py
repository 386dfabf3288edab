"""What anybody who operates or integrates the platform looks at first."""

import functools
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis

COUNTERS = {
    "sspp_events_accepted_total",
    "sspp_events_stored_total",
    "sspp_events_duplicate_total",
    "sspp_events_rejected_total",
    "sspp_signals_indexed_total",
}
GAUGES = {
    "sspp_lane_depth_events",
    "sspp_lane_oldest_age_seconds",
    "sspp_outbox_depth_signals",
    "sspp_outbox_oldest_age_seconds",
}
HISTOGRAMS = {
    "sspp_batch_size",
    "sspp_stage_duration_seconds",
    "sspp_store_lag_seconds",
    "sspp_index_lag_seconds",
}
LANES = 16
CALLS = {
    ("post", "/v1/events"),
    ("get", "/v1/events"),
    ("get", "/v1/events/{event_id}"),
    ("get", "/v1/signals"),
    ("get", "/v1/signals/{signal_id}"),
    ("get", "/v1/search"),
    ("get", "/v1/customers"),
    ("get", "/v1/customers/{customer_id}"),
    ("get", "/v1/customers/{customer_id}/timeline"),
    ("patch", "/v1/customers/{customer_id}"),
    ("get", "/v1/rejected"),
    ("get", "/v1/rejected/{rejection_id}"),
    ("get", "/v1/rejected/withheld"),
    ("post", "/v1/rejected/replay"),
    ("post", "/v1/rejected/release"),
    ("get", "/v1/event-types"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
}


@pytest.fixture
def visitor(platform: Any) -> Any:
    """A client without a key."""
    with platform.client() as client:
        yield client


@pytest.fixture
def document(visitor: httpx.Client) -> dict[str, Any]:
    """The OpenAPI document."""
    return visitor.get("/openapi.json").raise_for_status().json()


def families(metrics: str) -> dict[str, str]:
    """The kind of each metric in Prometheus's text format."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", metrics, re.MULTILINE))


def test_the_environment_file_names_all_that_a_shell_needs(platform: Any) -> None:
    assert set(platform.environment) == {
        *("DATABASE_URL", "REDIS_URL", "CACHE_URL", "ELASTICSEARCH_URL"),
        *("RQ_REDIS_URL", "RQ_WORKER_CLASS", "SSPP_API_URL", "SSPP_API_KEY", "SSPP_ADMIN_KEY"),
    }


def test_it_lives_and_is_ready_with_every_dependency_by_name(visitor: httpx.Client) -> None:
    alive, ready = visitor.get("/healthz"), visitor.get("/readyz")

    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    states = {name: each["status"] for name, each in ready.json()["dependencies"].items()}
    assert states == dict.fromkeys(("postgresql", "redis", "elasticsearch"), "ok")


def test_the_api_and_each_worker_serve_the_promised_metrics(
    platform: Any, visitor: httpx.Client, until: Callable[..., Any]
) -> None:
    def served_by(worker: str) -> httpx.Response | None:
        *_, line = (line for line in platform.log_lines(worker) if line["event"] == "metrics_served")
        try:
            return httpx.get(f"http://{line['host']}:{line['port']}/metrics", trust_env=False)
        except httpx.ConnectError:  # another test has just killed it, and it is on its way back
            return None

    workers = ("worker-ingest-1", "worker-ingest-2", "worker-index", "worker-maintenance")
    pages = [
        visitor.get("/metrics"),
        *(until(functools.partial(served_by, worker)) for worker in workers),
    ]

    for page in pages:
        assert page.status_code == 200
        kinds = families(page.text)
        for kind, names in (("counter", COUNTERS), ("gauge", GAUGES), ("histogram", HISTOGRAMS)):
            assert {name for name in names if kinds.get(name) != kind} == set()
        assert page.text.count("\nsspp_lane_depth_events{") == LANES
    assert {"sspp_http_requests_total", "sspp_http_request_duration_seconds"} <= families(
        pages[0].text
    ).keys()


def test_the_documentation_is_there_and_needs_no_key(visitor: httpx.Client) -> None:
    page = visitor.get("/docs")

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")


def test_the_openapi_document_is_valid(document: dict[str, Any]) -> None:
    schemathesis.openapi.from_dict(document).validate()


def test_the_openapi_document_describes_every_call_and_what_it_answers(document: dict[str, Any]) -> None:
    operations = {
        (method, path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    assert operations.keys() >= CALLS
    for (method, path), operation in operations.items():
        call = f"{method.upper()} {path}"
        assert operation.get("summary"), call
        assert operation.get("description"), call
        succeeded = {status: answer for status, answer in operation["responses"].items() if status[0] == "2"}
        assert succeeded, call
        assert all(status == "204" or answer["content"] for status, answer in succeeded.items()), call
        for answer in succeeded.values():
            for content in answer.get("content", {}).values():
                assert content.get("schema"), call
                assert "example" in content or "examples" in content, call
        if path.startswith("/v1/"):
            assert operation["security"], call
            assert {"401", "403"} <= operation["responses"].keys(), call
        if method in {"post", "patch"}:
            for content in operation["requestBody"]["content"].values():
                assert content.get("schema"), call
                assert "example" in content or "examples" in content, call


def test_an_unknown_address_is_a_problem_too(visitor: httpx.Client) -> None:
    lost = visitor.get("/v1/nothing-here")

    assert (lost.status_code, lost.headers["content-type"]) == (404, "application/problem+json")
    assert lost.json()["code"] == "not_found"
