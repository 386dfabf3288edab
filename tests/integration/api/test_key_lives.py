"""For how long keys are made, how many there are, and which of them may have all of the platform."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pages import walk
from sending import bearer
from typer.testing import CliRunner

from common.tenancy.keys import create_key, ensure_key, list_keys, rotate_key
from common.tenancy.secrets import parse_prefix
from infrastructure.cli.main import app
from infrastructure.database.connections import connect
from infrastructure.database.migrate import MIGRATIONS, migrate

BEFORE_LIVES_WERE_BOUNDED = 17
KEYS = "/v1/admin/tenants/acme/keys"


@pytest.fixture
def own(api: httpx.Client, api_store: Any, api_tenant: int) -> httpx.Client:
    """The API, asked with a key of `api_tenant`'s administrator."""
    api.headers.update(bearer(api_store.key(api_tenant, "tenant_admin")))
    return api


@pytest.mark.parametrize(
    "expires_at",
    [
        "2000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+12:00",
    ],
)
def test_a_key_expires_within_a_hundred_years(own: httpx.Client, expires_at: str) -> None:
    refused = own.post(KEYS, json={"scopes": ["read"], "expires_at": expires_at})

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert refused.json()["errors"][0]["pointer"] == "/expires_at"
    assert own.get(KEYS).status_code == 200


def test_the_longest_life_can_be_rotated_into_another(own: httpx.Client) -> None:
    expires_at = datetime.now(UTC) + timedelta(days=36_499)
    made = own.post(KEYS, json={"scopes": ["read"], "expires_at": expires_at.isoformat()}).json()

    assert own.post(f"{KEYS}/{made['prefix']}/rotations").status_code == 201


def test_keys_that_were_made_for_longer_are_cut_to_that(empty_database_url: str, tmp_path: Path) -> None:
    for path in sorted(MIGRATIONS.glob("*.sql"))[:BEFORE_LIVES_WERE_BOUNDED]:
        shutil.copy(path, tmp_path)
    migrate(empty_database_url, directory=tmp_path)
    with connect(empty_database_url) as connection:
        key, endless = (create_key(connection, "platform", "", ["read"]) for _ in range(2))
        connection.execute(
            "UPDATE api_keys SET expires_at = '9999-12-31T23:59:59-12:00', lifetime = interval '7973 years'"
            " WHERE prefix = %s",
            (parse_prefix(key),),
        )
    migrate(empty_database_url)

    with connect(empty_database_url) as connection:
        for each in (key, endless):
            rotate_key(connection, "platform", str(parse_prefix(each)), timedelta(days=1))
        cut, ended, heir, endless_heir = list_keys(connection, "platform")
    latest = datetime.now(UTC) + timedelta(days=36_500)
    assert all(each.expires_at and each.expires_at < latest for each in (cut, ended, heir))
    assert endless_heir.expires_at is None


def test_keys_are_listed_page_by_page_in_the_order_of_their_making(
    own: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    for _ in range(4):
        api_store.key(api_tenant, "read")
        api_store.key(0, "read")
    statement = "SELECT prefix FROM api_keys WHERE tenant_id = %s ORDER BY key_id"
    made = [prefix for (prefix,) in api_store.execute(statement, (api_tenant,))]

    assert walk(own, KEYS, "prefix", limit=2) == made
    assert len(own.get(KEYS, params={"limit": 2}).json()["items"]) == 2
    cursor = own.get(KEYS, params={"limit": 1}).json()["next_cursor"]
    platform = bearer(api_store.key(0, "admin"))
    other = own.get("/v1/admin/tenants/platform/keys", params={"cursor": cursor}, headers=platform)
    assert other.status_code == 422


def test_a_tenant_has_so_many_usable_keys_at_most(own: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.tenancy.keys.MOST_USABLE", 4)  # two were there before
    made = [own.post(KEYS, json={"scopes": ["read"]}) for _ in range(3)]
    assert [answer.status_code for answer in made] == [201, 201, 409]
    last = f"{KEYS}/{made[1].json()['prefix']}"

    assert own.post(f"{last}/rotations", json={"overlap_seconds": 60}).status_code == 409
    assert own.post(f"{last}/rotations", json={"overlap_seconds": 0}).status_code == 201
    assert own.delete(f"{KEYS}/{made[0].json()['prefix']}").status_code == 204
    assert own.post(KEYS, json={"scopes": ["read"]}).status_code == 201


def test_only_keys_of_the_platforms_own_tenant_are_made_for_all_tenants_affairs(
    own: httpx.Client, api_store: Any, environment: dict[str, str]
) -> None:
    platform = bearer(api_store.key(0, "admin"))
    refused = own.post(KEYS, json={"scopes": ["read", "admin"]}, headers=platform)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/scopes")
    command = ["keys", "create", "acme", "--scope", "admin"]
    assert CliRunner().invoke(app, command, env=environment).exit_code == 1

    made = own.post("/v1/admin/tenants/platform/keys", json={"scopes": ["admin"]}, headers=platform)
    assert made.status_code == 201


def test_the_local_stacks_tenant_has_a_key_for_all_tenants_affairs(
    api: httpx.Client, environment: dict[str, str]
) -> None:
    with connect(environment["DATABASE_URL"]) as connection:
        key = ensure_key(connection, "acme", "", ["read", "admin"], None)
        assert ensure_key(connection, "acme", "", ["read", "admin"], key) == key

    assert api.get("/v1/admin/tenants", headers=bearer(key)).status_code == 200


def test_a_tenants_administrator_revokes_whatever_key_the_tenant_has(
    own: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    mighty = parse_prefix(api_store.key(api_tenant, "admin"))

    assert own.post(f"{KEYS}/{mighty}/rotations").status_code == 404
    assert own.delete(f"{KEYS}/{mighty}").status_code == 204
