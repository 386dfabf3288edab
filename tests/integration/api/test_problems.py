"""Errors are problem details, and tell nothing of our insides."""

from unittest.mock import Mock

import httpx
import pytest


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/signals/not-a-uuid", 422, "invalid_request"),
        ("DELETE", "/v1/signals", 405, "method_not_allowed"),
        ("PUT", "/v1/events/e1", 405, "method_not_allowed"),
        ("PUT", "/v1/events", 405, "method_not_allowed"),
    ],
)
def test_every_error_is_a_problem(api: httpx.Client, method: str, path: str, status: int, code: str) -> None:
    answer = api.request(method, path, headers={"X-Request-ID": "my-request"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "my-request"
    problem = answer.json()
    assert problem["type"] == f"urn:sspp:problem:{code}"
    assert problem["instance"] == "urn:sspp:request:my-request"
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["title"]
    assert problem["detail"]
    if status == 405:
        assert answer.headers["allow"]


def test_a_crash_answers_a_bare_problem_and_logs_the_trace(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: object) -> None:
        raise RuntimeError("the inside of the house")

    log = Mock()
    monkeypatch.setattr("api.request_context._log", log)
    monkeypatch.setattr("api.database.pages.fetch_all", crash)
    answer = api.get("/v1/signals", headers={"X-Request-ID": "unsafe\tid"})

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "inside of the house" not in answer.text
    assert answer.headers["x-request-id"] != "unsafe\tid"
    assert answer.json()["instance"] == f"urn:sspp:request:{answer.headers['x-request-id']}"
    assert 'route="/v1/signals",status="500"' in api.get("/metrics").text
    log.exception.assert_called_once_with("request_crashed", method="GET")
