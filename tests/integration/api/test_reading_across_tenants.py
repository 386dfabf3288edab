"""What a tenant reads of what another has stored: nothing, by no route and by no cursor."""

from datetime import UTC, datetime
from typing import Any

import httpx
from sending import bearer

from common.search.bulk import write_documents
from common.search.client import open_client
from common.search.documents import SignalRow, document
from common.search.generations import MonthIndices
from common.search.indices import ensure_indices
from common.search.template import ALIAS

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_no_route_shows_what_belongs_to_another_tenant(
    environment: dict[str, str], api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    signal_id = api_store.event(api_tenant, "e1", trace_id="t1")
    api_store.customer(api_tenant, "c1", heat=1.0)
    rejection_id = api_store.rejection(api_tenant, "r1")
    api_store.execute(
        "INSERT INTO event_types (tenant_id, event_type, version, schema) VALUES (%s, 'acme.own', 1, '{}')",
        (api_tenant,),
    )
    written = document(
        SignalRow(
            tenant_id=api_tenant,
            signal_id=str(signal_id),
            event_id="e1",
            event_type="purchase",
            customer_id="c1",
            signal_type="revenue",
            signal_score=0.8,
            occurred_at=NOON,
            received_at=NOON,
            trace_id="t1",
            amount=None,
            currency=None,
            data="{}",
        )
    )
    with open_client(environment["ELASTICSEARCH_URL"]) as client:
        ensure_indices(client, MonthIndices(NOON.date().replace(day=1)))
        assert write_documents(client, [written]).ok
        client.indices.refresh(index=ALIAS)
    other = bearer(api_store.key(api_store.tenant("other"), "tenant_admin"))
    paths = {
        "/v1/events": {"trace_id": "t1"},
        "/v1/events/{event_id}": "e1",
        "/v1/signals": {"customer_id": "c1"},
        "/v1/signals/{signal_id}": str(signal_id),
        "/v1/search": {"q": "purchase"},
        "/v1/customers": {},
        "/v1/customers/{customer_id}": "c1",
        "/v1/customers/{customer_id}/timeline": "c1",
        "/v1/rejected": {},
        "/v1/rejected/{rejection_id}": str(rejection_id),
        "/v1/event-types": {"limit": 500},
    }
    document_paths = api.get("/openapi.json").json()["paths"]
    # A new route must be added here. What is withheld is no list; test_release.py looks at it. Tenants and keys are
    # test_admin.py's.
    reading = {p for p, item in document_paths.items() if "get" in item and p.startswith("/v1/")}
    elsewhere = {"/v1/rejected/withheld", "/v1/api-logs"}
    # test_tenant_isolation.py looks at these.
    elsewhere |= {"/v1/erasures", "/v1/erasures/{erasure_id}", "/v1/usage"}
    elsewhere |= {f"/v1/event-types/{{name}}{what}" for what in ("", "/versions/{version}", "/violations")}
    elsewhere |= {f"/v1/customers/{{customer_id}}/{what}" for what in ("suppression", "export")}
    assert {p for p in reading if not p.startswith("/v1/admin")} == {*paths, *elsewhere}

    for path, asked in paths.items():
        parameters = asked if isinstance(asked, dict) else {}
        url = path if isinstance(asked, dict) else f"{path.partition('{')[0]}{asked}{path.partition('}')[2]}"
        mine = api.get(url, params=parameters)
        theirs = api.get(url, params=parameters, headers=other)
        assert mine.status_code == 200, (url, mine.text)
        if "{" in path:
            assert theirs.status_code == 404, url
            continue
        own_items = [item for item in mine.json()["items"] if item.get("owner") != "platform"]
        assert len(own_items) == 1, url
        assert theirs.status_code == 200, url
        assert [item for item in theirs.json()["items"] if item.get("owner") != "platform"] == [], url
    # Not even by way of a cursor.
    api_store.event(api_tenant, "e2")
    cursor = api.get("/v1/signals", params={"limit": 1}).json()["next_cursor"]
    assert api.get("/v1/signals", params={"cursor": cursor}, headers=other).status_code == 422
    replayed = api.post("/v1/rejected/replay", headers=other)
    assert replayed.json() == {"replayed": 0, "more": False}
