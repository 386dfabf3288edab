"""Who may ask: every route wants a whole, valid key with its scope."""

from datetime import UTC, datetime, timedelta
from typing import Any

from movable_clock import MovableClock
from sending import bearer

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_every_route_asks_for_a_key_with_its_scope(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any
) -> None:
    some_id = "3f0c8a52-91d7-8b44-a3c1-5e7d20f19600"
    needed = {
        ("post", "/v1/events"): "ingest",
        ("patch", "/v1/customers/c1"): "ingest",
        ("post", "/v1/rejected/replay"): "tenant_admin",
        ("post", "/v1/rejected/release"): "tenant_admin",
        ("get", "/v1/api-logs"): "tenant_admin",
        ("delete", "/v1/customers/c1"): "tenant_admin",
        ("get", "/v1/customers/c1/export"): "tenant_admin",
        ("put", "/v1/customers/c1/suppression"): "tenant_admin",
        ("get", "/v1/customers/c1/suppression"): "tenant_admin",
        ("delete", "/v1/customers/c1/suppression"): "tenant_admin",
        ("get", "/v1/erasures"): "tenant_admin",
        ("get", f"/v1/erasures/{some_id}"): "tenant_admin",
        ("get", "/v1/admin/tenants"): "admin",
        ("post", "/v1/admin/tenants"): "admin",
        ("get", "/v1/admin/tenants/t"): "tenant_admin",
        ("patch", "/v1/admin/tenants/t"): "tenant_admin",
        ("get", "/v1/admin/plans"): "admin",
        ("put", "/v1/admin/plans/p"): "admin",
        ("put", "/v1/event-types/n"): "tenant_admin",
        ("patch", "/v1/event-types/n/versions/1"): "tenant_admin",
        ("delete", "/v1/admin/tenants/t"): "admin",
        ("get", "/v1/admin/tenants/t/keys"): "tenant_admin",
        ("post", "/v1/admin/tenants/t/keys"): "tenant_admin",
        ("post", "/v1/admin/tenants/t/keys/k/rotations"): "tenant_admin",
        ("delete", "/v1/admin/tenants/t/keys/k"): "tenant_admin",
    }
    lesser = {"admin": ["ingest", "read", "tenant_admin"], "tenant_admin": ["ingest", "read"]}
    with api_serving(environment) as client:
        for path, item in client.get("/openapi.json").json()["paths"].items():
            if not path.startswith("/v1/"):
                continue
            ids = {"event_id": "e1", "customer_id": "c1"}
            ids |= dict.fromkeys(("signal_id", "rejection_id", "erasure_id"), some_id)
            url = path.format(**ids, slug="t", prefix="k", plan="p", name="n", version="1")

            for method in item:
                scope = needed.get((method, url), "read" if method == "get" else "")
                assert scope, f"say which scope {method} {url} needs"
                missing = client.request(method, url)
                assert missing.status_code == 401, (method, url)
                assert missing.headers["www-authenticate"] == "Bearer"
                assert missing.headers["content-type"] == "application/problem+json"
                assert missing.json()["code"] == "unauthorized"
                lacking = api_store.key(api_tenant, *lesser.get(scope, {"read", "ingest"} - {scope}))
                refused = client.request(method, url, headers=bearer(lacking))
                assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope"), (method, url)
                # An admin key may do everything: whatever is wrong now, it is not the key.
                admin = bearer(api_store.key(api_tenant, "admin"))
                assert client.request(method, url, headers=admin).status_code not in (401, 403)


def test_only_the_whole_valid_key_opens(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any
) -> None:
    clock = MovableClock(NOON)
    good = api_store.key(api_tenant, "read", expires_at=NOON + timedelta(seconds=5))
    with api_serving(environment, clock=clock) as client:

        def status(authorization: str) -> int:
            return client.get("/v1/signals", headers={"Authorization": authorization}).status_code

        assert status(f"Bearer {good}") == 200
        assert status(f"bearer  {good}") == 200
        for wrong in (
            "",
            "Bearer",
            good,
            f"Basic {good}",
            f"Bearer {good[:-1]}",
            f"Bearer {good[:-1]}{'a' if good[-1] != 'a' else 'b'}",
            f"Bearer {api_store.key(api_tenant, 'read', expires_at=NOON)}",
            f"Bearer {api_store.key(api_tenant, 'read', revoked_at=NOON)}",
            "Bearer sspp_x_y",
        ):
            assert status(wrong) == 401, wrong
        # A remembered key expires all the same.
        clock.now += timedelta(seconds=5)
        assert status(f"Bearer {good}") == 401
