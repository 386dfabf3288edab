"""Cursors that somebody made up, checksum and all: refused, and no crash. And what real ones tell."""

from base64 import urlsafe_b64decode
from typing import Any

import httpx
import msgspec
import pytest
from sending import bearer

from api.http.cursors import encode_cursor


@pytest.fixture
def administrator(environment: dict[str, str], api_serving: Any, api_store: Any, api_tenant: int) -> Any:
    with api_serving(environment, api_store.key(api_tenant, "tenant_admin")) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "list_name", "position"),
    [
        ("/v1/event-types", ["event-types", None], ["pur\0chase", False, 1]),
        ("/v1/event-types", ["event-types", None], ["purchase", False, 2**31]),
        ("/v1/event-types/purchase/violations", ["violations", "purchase"], [2**31, "/x", "type"]),
        ("/v1/event-types/purchase/violations", ["violations", "purchase"], [1, "/\0", "type"]),
        ("/v1/customers", ["customers", "score"], [1.0, "c\0"]),
        ("/v1/search", ["search", "", None, [], [], None, None, None], [1, "\0"]),
    ],
)
def test_a_forged_position_that_no_store_takes_is_a_422(
    administrator: httpx.Client, api_tenant: int, path: str, list_name: list[Any], position: list[Any]
) -> None:
    name, *filters = list_name
    cursor = encode_cursor(position, [name, api_tenant, *filters])

    answer = administrator.get(path, params={"cursor": cursor})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["parameter"] == "cursor"
    # The same place within bounds is one of this list.
    harmless = [
        1 if part == 2**31 else part.replace("\0", "") if isinstance(part, str) else part for part in position
    ]
    cursor = encode_cursor(harmless, [name, api_tenant, *filters])
    assert administrator.get(path, params={"cursor": cursor}).status_code == 200


def test_a_forged_position_in_the_list_of_tenants_is_a_422(api: httpx.Client, api_store: Any) -> None:
    mighty = bearer(api_store.key(0, "admin"))
    for position, status in ((2**31, 422), (0, 200)):
        cursor = encode_cursor([position], ["admin", "tenants"])
        answer = api.get("/v1/admin/tenants", params={"cursor": cursor}, headers=mighty)
        assert answer.status_code == status, answer.text


def test_a_cursor_of_event_types_does_not_tell_the_tenants_number(
    administrator: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    schema = {"schema": {"type": "object"}}
    for name in ("aa", "ab"):  # before the platform's
        assert administrator.put(f"/v1/event-types/{name}", json=schema).status_code == 201

    cursor = administrator.get("/v1/event-types", params={"limit": 1}).json()["next_cursor"]

    decoded = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert msgspec.msgpack.decode(decoded[6:]) == ["aa", True, 1]
