"""Keys that everybody may know add events, and change nothing that is there."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sending import event

from common.queue.streams import Entry
from common.tenancy.keys import create_key
from infrastructure.database.connections import connect

CHANGE = event("change", event_type="customer_updated", data={"email": "mallory@example.com"})
REFUSED = "secret_key_required"


@pytest.fixture
def page(environment: dict[str, str], api_tenant: int, api_serving: Any) -> Iterator[httpx.Client]:
    """A client of the API with a publishable key."""
    with connect(environment["DATABASE_URL"]) as connection:
        key = create_key(connection, "acme", "", ["ingest"], kind="publishable")
    with api_serving(environment, key) as client:
        yield client


def test_a_publishable_key_changes_no_profile(
    page: httpx.Client, queued: Callable[[], list[Entry]], api_store: Any, api_tenant: int
) -> None:
    alone = page.post("/v1/events", json=CHANGE)
    assert (alone.status_code, alone.json()["code"]) == (422, REFUSED)
    patched = page.patch("/v1/customers/c1", json={"email": "mallory@example.com"})
    assert (patched.status_code, patched.json()["code"]) == (403, REFUSED)
    assert queued() == []

    among_others = page.post("/v1/events", json=[event("e1"), CHANGE, event("e2")]).json()
    assert among_others["event_ids"] == ["e1", "e2"]
    assert [(refusal["index"], refusal["code"], refusal["path"]) for refusal in among_others["rejected"]] == [
        (1, REFUSED, "/event_type")
    ]
    assert [record.event_id for entry in queued() for record in entry.records] == ["e1", "e2"]

    page.headers["Authorization"] = f"Bearer {api_store.key(api_tenant, 'ingest')}"
    assert page.post("/v1/events", json=CHANGE).status_code == 202
    assert page.patch("/v1/customers/c1", json={"email": "ada@example.com"}).status_code == 202
