"""/v1/admin: tenants and keys over HTTP, and what nobody may do there."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from sending import bearer

from common.tenancy.secrets import parse_prefix

EVENT = {"event_type": "purchase", "customer_id": "c1", "data": {}}
MISSING = {"code": "not_found", "detail": "no tenant has this slug"}


@pytest.fixture
def platform(api: httpx.Client, api_store: Any) -> httpx.Client:
    """The API, asked with a key of the platform's own."""
    api.headers.update(bearer(api_store.key(0, "admin")))
    return api


def make_tenant(platform: httpx.Client, slug: str = "shop", **more: str) -> dict[str, Any]:
    made = platform.post("/v1/admin/tenants", json={"slug": slug, **more})
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"/v1/admin/tenants/{slug}"
    return dict(made.json())


def make_key(platform: httpx.Client, slug: str, *scopes: str, **more: object) -> str:
    made = platform.post(f"/v1/admin/tenants/{slug}/keys", json={"scopes": scopes, **more})
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    assert made.json()["prefix"] == parse_prefix(made.json()["key"])
    return str(made.json()["key"])


def listed(platform: httpx.Client, slug: str) -> list[dict[str, Any]]:
    return list(platform.get(f"/v1/admin/tenants/{slug}/keys").json()["items"])


def post_event(api: httpx.Client, key: str) -> httpx.Response:
    return api.post("/v1/events", json=EVENT, headers=bearer(key))


def test_a_tenant_is_made_and_listed_page_by_page(platform: httpx.Client) -> None:
    made = make_tenant(platform, name="Shop Ltd", plan="pro")
    assert (made["name"], made["status"], made["plan"]) == ("Shop Ltd", "active", "pro")
    assert make_tenant(platform, "beta")["name"] == "beta"

    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = platform.get("/v1/admin/tenants", params={"limit": 1, **cursor}).json()
        found += [tenant["slug"] for tenant in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert found[0] == "platform"
    assert found[-2:] == ["shop", "beta"]
    assert platform.get("/v1/admin/tenants/shop").json() == made


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"slug": "Shop"}, 422),
        ({"slug": "-shop"}, 422),
        ({"slug": "shop\n"}, 422),
        ({"slug": "shop", "plan": "gold"}, 422),
        ({"slug": "shop", "name": "a\0b"}, 422),
        ({"slug": "shop", "admin": True}, 422),
        ({}, 422),
        ({"slug": "platform"}, 409),
    ],
)
def test_a_tenant_that_cannot_be_is_refused(
    platform: httpx.Client, body: dict[str, object], status: int
) -> None:
    assert platform.post("/v1/admin/tenants", json=body).status_code == status


def test_a_suspended_tenant_is_answered_403_until_it_goes_on(platform: httpx.Client, until: Any) -> None:
    make_tenant(platform)
    key = make_key(platform, "shop", "ingest")
    assert post_event(platform, key).status_code == 202

    assert platform.patch("/v1/admin/tenants/shop", json={"status": "suspended"}).status_code == 200
    until(lambda: post_event(platform, key).status_code == 403, timeout=2)
    assert post_event(platform, key).json()["code"] == "tenant_suspended"

    assert platform.patch("/v1/admin/tenants/shop", json={"status": "active"}).json()["status"] == "active"
    until(lambda: post_event(platform, key).status_code == 202, timeout=2)


def test_a_deleted_tenant_is_gone_for_good(platform: httpx.Client, until: Any) -> None:
    make_tenant(platform)
    key = make_key(platform, "shop", "ingest")

    assert platform.delete("/v1/admin/tenants/shop").status_code == 204
    assert platform.delete("/v1/admin/tenants/shop").status_code == 204
    until(lambda: post_event(platform, key).status_code == 401, timeout=2)

    assert platform.patch("/v1/admin/tenants/shop", json={"status": "active"}).status_code == 409
    assert platform.post("/v1/admin/tenants/shop/keys", json={"scopes": ["read"]}).status_code == 409
    assert platform.post("/v1/admin/tenants", json={"slug": "shop"}).status_code == 409
    assert platform.get("/v1/admin/tenants/shop").json()["status"] == "deleted"
    assert platform.delete("/v1/admin/tenants/platform").status_code == 409


def test_a_revoked_key_is_refused_within_two_seconds(platform: httpx.Client, until: Any) -> None:
    make_tenant(platform)
    key, other = make_key(platform, "shop", "ingest"), make_key(platform, "shop", "ingest")
    assert post_event(platform, key).status_code == 202

    assert platform.delete(f"/v1/admin/tenants/shop/keys/{parse_prefix(key)}").status_code == 204
    until(lambda: post_event(platform, key).status_code == 401, timeout=2)
    assert post_event(platform, other).status_code == 202
    assert [bool(each["revoked_at"]) for each in listed(platform, "shop")] == [True, False]


def test_a_rotated_key_works_beside_the_new_one_until_the_overlap_is_over(
    platform: httpx.Client, api_store: Any, until: Any
) -> None:
    make_tenant(platform)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    old = make_key(platform, "shop", "ingest", name="shop", expires_at=tomorrow.isoformat())
    url = f"/v1/admin/tenants/shop/keys/{parse_prefix(old)}/rotations"

    new = platform.post(url, json={"overlap_seconds": 600}).json()["key"]
    assert post_event(platform, old).status_code == post_event(platform, new).status_code == 202
    before, after = listed(platform, "shop")
    assert (after["name"], after["scopes"], after["kind"]) == ("shop", ["ingest"], "secret")
    # It was made to live for a day, and so is its successor.
    assert datetime.fromisoformat(after["expires_at"]) - tomorrow < timedelta(minutes=5)
    assert datetime.fromisoformat(before["expires_at"]) < datetime.now(UTC) + timedelta(minutes=11)

    assert platform.post(url, json={"overlap_seconds": 0}).status_code == 201
    until(lambda: post_event(platform, old).status_code == 401, timeout=2)
    assert platform.post(url).status_code == 404


def test_a_publishable_key_can_only_ingest(platform: httpx.Client) -> None:
    make_tenant(platform)
    key = make_key(platform, "shop", "ingest", kind="publishable")

    assert key.startswith("sspp_pub_")
    assert post_event(platform, key).status_code == 202
    assert platform.get("/v1/signals", headers=bearer(key)).status_code == 403
    for scopes in (["ingest", "read"], ["tenant_admin"]):
        wanted = {"scopes": scopes, "kind": "publishable"}
        refused = platform.post("/v1/admin/tenants/shop/keys", json=wanted)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/scopes")


def test_a_tenants_administrator_sees_to_its_own_tenant_and_learns_of_no_other(
    platform: httpx.Client, api_store: Any
) -> None:
    make_tenant(platform)
    make_tenant(platform, "other")
    foreign = str(parse_prefix(make_key(platform, "other", "read")))
    own = bearer(make_key(platform, "shop", "tenant_admin"))

    made = platform.post("/v1/admin/tenants/shop/keys", json={"scopes": ["read"]}, headers=own)
    assert made.status_code == 201
    assert platform.get("/v1/admin/tenants/shop", headers=own).json()["slug"] == "shop"
    assert platform.get("/v1/admin/tenants/shop/keys", headers=own).status_code == 200

    for slug in ("other", "nobody", "platform"):
        for method, path, body in (
            ("GET", "", None),
            ("GET", "/keys", None),
            ("POST", "/keys", {"scopes": ["read"]}),
            ("POST", f"/keys/{foreign}/rotations", {}),
            ("DELETE", f"/keys/{foreign}", None),
        ):
            answer = platform.request(method, f"/v1/admin/tenants/{slug}{path}", json=body, headers=own)
            found = answer.json()
            assert (answer.status_code, found["code"], found["detail"]) == (404, *MISSING.values()), path
    assert platform.get("/v1/admin/tenants", headers=own).status_code == 403
    assert platform.patch("/v1/admin/tenants/shop", json={"status": "active"}, headers=own).status_code == 403
    assert [each["revoked_at"] for each in listed(platform, "other")] == [None]


def test_nobody_gets_hold_of_a_scope_that_they_lack(platform: httpx.Client, api_store: Any) -> None:
    make_tenant(platform)
    own = bearer(make_key(platform, "shop", "tenant_admin"))
    keys = "/v1/admin/tenants/shop/keys"
    assert platform.post(keys, json={"scopes": ["read", "admin"]}, headers=own).status_code == 403
    # Nor of that which a mightier key of the same tenant has.
    staff = bearer(api_store.key(0, "tenant_admin"))
    keys = "/v1/admin/tenants/platform/keys"
    mighty = str(parse_prefix(make_key(platform, "platform", "admin")))
    assert platform.post(f"{keys}/{mighty}/rotations", headers=staff).status_code == 404
    assert platform.delete(f"{keys}/{mighty}", headers=staff).status_code == 404
    # Nor by an old key's right to everything of its tenant.
    reader = bearer(make_key(platform, "shop", "read"))
    refused = platform.post("/v1/admin/tenants/shop/keys", json={"scopes": ["read"]}, headers=reader)
    assert refused.status_code == 403


def test_when_a_key_was_last_used_is_written_down(
    environment: dict[str, str], api_serving: Any, api_store: Any, api_tenant: int
) -> None:
    used, idle = api_store.key(api_tenant, "ingest"), api_store.key(api_tenant, "ingest")
    started = datetime.now(UTC)
    with api_serving(environment, used) as client:
        assert post_event(client, used).status_code == 202
    # At the latest when the process ends.
    uses = dict(api_store.execute("SELECT prefix, last_used_at FROM api_keys"))
    assert started <= uses[parse_prefix(used)] <= datetime.now(UTC)
    assert uses[parse_prefix(idle)] is None


def test_a_key_that_somebody_else_changes_keeps_no_other_use_from_being_written_down(
    environment: dict[str, str], api_serving: Any, api_store: Any, api_tenant: int, database_url: str
) -> None:
    """Nobody waits for a key while it holds another one, so that API processes cannot wait for each other."""
    changing, used = api_store.key(api_tenant, "ingest"), api_store.key(api_tenant, "ingest")
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE api_keys SET name = 'changed' WHERE prefix = %s", (parse_prefix(changing),)
        )
        with api_serving(environment) as client:
            for key in (changing, used):
                assert post_event(client, key).status_code == 202
        uses = dict(api_store.execute("SELECT prefix, last_used_at FROM api_keys"))
    assert uses[parse_prefix(changing)] is None
    assert uses[parse_prefix(used)] is not None
