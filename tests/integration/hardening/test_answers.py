"""What every answer carries, and whom the log of calls takes it to have been sent to."""

import base64
import hashlib
import re
from typing import Any

import httpx
import pytest

from api.http.security_headers import STANDARD_HEADERS, SecurityHeaders

STANDARD = {name.decode(): value.decode() for name, value in STANDARD_HEADERS}
SOME_ID = "3f0c8a52-91d7-8b44-a3c1-5e7d20f19600"


def test_every_route_answers_with_the_security_headers_whatever_the_answer_is(
    environment: dict[str, str], api_serving: Any, api_store: Any, api_tenant: int
) -> None:
    mighty = {"Authorization": f"Bearer {api_store.key(0, 'admin')}"}
    seen = set()
    with api_serving(environment) as client:
        for path, item in client.get("/openapi.json").json()["paths"].items():
            url = re.sub(r"\{[^}]*\}", SOME_ID, path)
            for method in item:
                for headers in ({}, mighty):
                    with client.stream(method, url, headers=headers) as answer:
                        seen.add(answer.status_code)
                        for name, value in STANDARD.items():
                            assert answer.headers.get_list(name) == [value], (method, path, name)
        for path in ("/nowhere", "/v1/nowhere", "/openapi.json"):
            assert STANDARD.items() <= client.get(path).headers.items()
            assert STANDARD.items() <= client.delete(path).headers.items()
    assert {200, 401, 404, 422} <= seen


def test_a_crash_carries_them_too(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(*_: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr("api.database.pages.fetch_all", crash)
    answer = api.get("/v1/signals")

    assert answer.status_code == 500
    assert STANDARD.items() <= answer.headers.items()


@pytest.mark.parametrize(
    ("seconds", "sent"), [("0", None), ("31536000", "max-age=31536000; includeSubDomains")]
)
def test_browsers_are_told_to_come_back_by_https_where_that_is_set(
    environment: dict[str, str], api_serving: Any, seconds: str, sent: str | None
) -> None:
    with api_serving(environment | {"SSPP_HSTS_SECONDS": seconds}) as client:
        for path in ("/healthz", "/docs", "/v1/signals"):
            assert client.get(path).headers.get("strict-transport-security") == sent


def test_what_a_route_says_itself_wins() -> None:
    own = [(b"content-type", b"text/plain"), (b"cache-control", b"max-age=60")]

    completed = SecurityHeaders(hsts_seconds=1).complete(own)

    assert dict(completed)[b"cache-control"] == b"max-age=60"
    assert len(completed) == len(dict(completed)) == len(STANDARD) + 2


def test_the_documentation_may_load_exactly_what_it_consists_of(api: httpx.Client) -> None:
    page = api.get("/docs")
    policy = {
        directive.split()[0]: directive.split()[1:]
        for directive in page.headers["content-security-policy"].split(";")
    }

    # Of one version, and only as it was when that version was taken.
    pinned = (
        r'"(https://[^"]*@\d+\.\d+\.\d+/[^"]*)" integrity="sha384-[A-Za-z0-9+/]{64}" crossorigin="anonymous">'
    )
    [script] = re.findall(f"<script src={pinned}", page.text)
    [inline] = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    [style] = re.findall(f'<link type="text/css" rel="stylesheet" href={pinned}', page.text)
    assert page.text.count("https://") == 2
    digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
    assert policy["script-src"] == [script, f"'sha256-{digest}'"]
    assert style in policy["style-src"]
    assert policy["connect-src"] == ["'self'"]
    assert policy["default-src"] == policy["frame-ancestors"] == ["'none'"]
    # It asks for the document beside itself.
    [document] = re.findall(r"url: '([^']*)'", inline)
    assert api.get(httpx.URL("/docs").join(document)).json()["openapi"]


@pytest.mark.parametrize(
    ("settings", "sent", "found"),
    [
        ({}, {"X-Forwarded-For": "203.0.113.7"}, "127.0.0.1"),
        ({"SSPP_TRUSTED_PROXIES": "10.0.0.0/8"}, {"X-Forwarded-For": "203.0.113.7"}, "127.0.0.1"),
        (
            {"SSPP_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1"},
            {"X-Forwarded-For": "1.1.1.1, 203.0.113.7"},
            "203.0.113.7",
        ),
        (
            {"SSPP_TRUSTED_PROXIES": "127.0.0.0/8", "SSPP_FORWARDED_HEADER": "forwarded"},
            {"Forwarded": 'for="[2001:db8::1]:80"', "X-Forwarded-For": "1.1.1.1"},
            "2001:db8::1",
        ),
        ({"SSPP_TRUSTED_PROXIES": "127.0.0.0/8"}, {"X-Forwarded-For": "'; DROP TABLE api_logs"}, "127.0.0.1"),
    ],
)
def test_the_log_of_calls_has_the_clients_address_as_trusted_proxies_know_it(
    environment: dict[str, str],
    api_serving: Any,
    api_store: Any,
    api_tenant: int,
    settings: dict[str, str],
    sent: dict[str, str],
    found: str,
) -> None:
    with api_serving(environment | settings, api_store.key(api_tenant, "read")) as client:
        assert client.get("/v1/signals", headers=sent).status_code == 200

    assert api_store.execute("SELECT host(client_address) FROM api_logs") == [(found,)]
