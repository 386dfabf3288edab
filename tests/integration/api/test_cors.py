"""Events from web pages: only from those that the tenant of the key allows."""

from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from infrastructure.cli.main import app

SHOP = "https://shop.example"
EVENT = {"event_type": "purchase", "customer_id": "c1", "data": {"amount": 1, "currency": "USD"}}


def send(api: httpx.Client, origin: str | None, **options: Any) -> httpx.Response:
    headers = options.pop("headers", {}) | ({} if origin is None else {"Origin": origin})
    return api.post("/v1/events", json=EVENT, headers=headers, **options)


@pytest.fixture
def allow(api_store: Any, api_tenant: int) -> Any:
    def allow(*origins: str) -> None:
        api_store.execute(
            "UPDATE tenants SET allowed_origins = %s WHERE tenant_id = %s", (list(origins), api_tenant)
        )

    return allow


def test_a_browser_may_ask_without_a_key_whether_it_may_send(api: httpx.Client) -> None:
    asked = {
        "Origin": "https://anywhere.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    del api.headers["Authorization"]

    answer = api.options("/v1/events", headers=asked)

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "POST"
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type"} <= set(allowed)
    other = api.options("/v1/signals", headers=asked)
    assert (other.status_code, "access-control-allow-origin" in other.headers) == (405, False)


def test_a_page_of_an_allowed_origin_sends_and_may_read_the_answer(api: httpx.Client, allow: Any) -> None:
    allow(SHOP)

    for answer, status in ((send(api, SHOP), 202), (api.post("/v1/events", headers={"Origin": SHOP}), 415)):
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert "retry-after" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://shop.example", f"{SHOP}:8443", f"{SHOP}.evil.example", "null", ""],
)
def test_a_page_of_any_other_origin_is_refused(api: httpx.Client, allow: Any, origin: str) -> None:
    allow(SHOP)

    answer = send(api, origin)

    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers


def test_without_allowed_origins_servers_send_and_pages_do_not(
    api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    assert send(api, None).status_code == 202
    assert send(api, SHOP).status_code == 403
    # The API's own documentation is such a page, and needs no leave.
    assert send(api, f"https://{api.base_url.netloc.decode()}").status_code == 202


def test_another_tenants_origins_help_nobody(api: httpx.Client, api_store: Any, allow: Any) -> None:
    allow(SHOP)
    other = api_store.key(api_store.tenant("other"), "ingest")

    assert send(api, SHOP, headers={"Authorization": f"Bearer {other}"}).status_code == 403
    assert send(api, SHOP, headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_a_page_may_read_why_its_tenant_or_key_is_refused(
    api: httpx.Client, api_store: Any, api_tenant: int, allow: Any, until: Any
) -> None:
    allow(SHOP)
    reader = {"Authorization": f"Bearer {api_store.key(api_tenant, 'read')}"}
    assert send(api, SHOP, headers=reader).status_code == 403
    assert send(api, SHOP, headers=reader).headers["access-control-allow-origin"] == SHOP

    api_store.execute("UPDATE plans SET requests_per_second = 1 WHERE plan = 'trial'")
    api_store.execute("UPDATE tenants SET plan = 'trial' WHERE tenant_id = %s", (api_tenant,))
    until(lambda: send(api, SHOP).status_code == 429)
    answers = (send(api, SHOP) for _ in range(100))
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["access-control-allow-origin"] == SHOP
    assert "retry-after" in refused.headers


def test_a_tenants_administrator_says_which_origins_are_allowed(
    api: httpx.Client, api_store: Any, api_tenant: int, until: Any
) -> None:
    own = {"Authorization": f"Bearer {api_store.key(api_tenant, 'tenant_admin')}"}
    api_store.tenant("other")

    def change(slug: str, origins: list[str]) -> httpx.Response:
        return api.patch(f"/v1/admin/tenants/{slug}", json={"allowed_origins": origins}, headers=own)

    assert change("acme", ["HTTPS://Shop.example:443"]).json()["allowed_origins"] == [SHOP]
    until(lambda: send(api, SHOP).status_code == 202, timeout=2)
    refused = change("acme", [SHOP, "https://shop.example/path"])
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/allowed_origins/1")
    assert change("other", [SHOP]).status_code == 404
    assert change("acme", []).json()["allowed_origins"] == []
    until(lambda: send(api, SHOP).status_code == 403, timeout=2)


def test_the_command_line_says_so_too(environment: dict[str, str], api_store: Any, api_tenant: int) -> None:
    def allowed() -> object:
        [(origins,)] = api_store.execute("SELECT allowed_origins FROM tenants WHERE slug = 'acme'")
        return origins

    def change(*origins: str) -> None:
        options = [word for origin in origins for word in ("--allow-origin", origin)]
        done = CliRunner().invoke(app, ["tenants", "change", "acme", *options], env=environment)
        assert done.exit_code == 0, done.output

    change(SHOP, "http://localhost:3000")
    assert allowed() == [SHOP, "http://localhost:3000"]
    change()
    assert allowed() == [SHOP, "http://localhost:3000"]
    change("none")
    assert allowed() == []
