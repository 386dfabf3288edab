"""Every route of the API, asked by one tenant for what belongs to another: nothing is seen, changed or learnt."""

import json
import re
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sending import bearer

from common.clock import system_clock
from common.customers import customer_hash
from common.search.bulk import write_documents
from common.search.client import open_client
from common.search.documents import SignalRow, document
from common.search.generations import MonthIndices
from common.search.indices import ensure_indices
from common.search.template import ALIAS
from common.tenancy.secrets import parse_prefix

# In all that belongs to the victim, and in nothing else.
MARK = "zanzibar"
SCOPES = ("ingest", "read", "tenant_admin")

# Bodies for the routes that take one, with the victim's ids where they name something.
BODIES: dict[tuple[str, str], Any] = {
    ("post", "/v1/events"): {
        "event_id": f"{MARK}-event",
        "event_type": "purchase",
        "customer_id": f"{MARK}-customer",
        "data": {},
    },
    ("patch", "/v1/customers/{customer_id}"): {"name": "Mallory"},
    ("post", "/v1/admin/tenants"): {"slug": "mallory"},
    ("patch", "/v1/admin/tenants/{slug}"): {"status": "suspended"},
    ("put", "/v1/event-types/{name}"): {"schema": {"type": "object"}},
    ("patch", "/v1/event-types/{name}/versions/{version}"): {"status": "retired"},
    ("post", "/v1/admin/tenants/{slug}/keys"): {"scopes": ["read"]},
    ("put", "/v1/admin/plans/{plan}"): {
        "requests_per_second": 1,
        "events_per_second": None,
        "monthly_events": None,
    },
}
# What concerns the asking tenant alone, whatever ids are in it: an event, or a customer, of its own of the same name.
OWN_MATTERS = {
    ("post", "/v1/events"),
    ("patch", "/v1/customers/{customer_id}"),
    ("put", "/v1/event-types/{name}"),
    ("delete", "/v1/customers/{customer_id}"),
    ("put", "/v1/customers/{customer_id}/suppression"),
    ("delete", "/v1/customers/{customer_id}/suppression"),
}


@dataclass
class Victim:
    """A tenant with something of everything, each with `MARK` in it."""

    tenant_id: int
    key: str
    ids: dict[str, str]


@pytest.fixture
def victim(environment: dict[str, str], api_store: Any) -> Victim:
    tenant = api_store.tenant(MARK)
    now = system_clock()
    event, customer = f"{MARK}-event", f"{MARK}-customer"
    raw = json.dumps({"event_id": event, "event_type": "purchase", "data": {"note": MARK}})
    shared = {"customer_id": customer, "trace_id": f"{MARK}-trace", "raw": raw, "received_at": now}
    signal_id = api_store.event(tenant, event, data=json.dumps({"note": MARK}), **shared)
    api_store.customer(tenant, customer, heat=1.0, name=MARK)
    rejection_id = api_store.rejection(tenant, f"{MARK}-refused", raw=raw)
    api_store.execute(
        "INSERT INTO event_types (tenant_id, event_type, version, schema) VALUES (%s, %s, 1, '{}')",
        (tenant, MARK),
    )
    api_store.execute(
        "INSERT INTO schema_violations VALUES (%s, %s, 1, %s, 'type', 1, %s, %s, %s)",
        (tenant, MARK, f"/data/{MARK}", now, now, rejection_id),
    )
    whom = (tenant, customer_hash(tenant, customer))
    api_store.execute("INSERT INTO tombstones VALUES (%s, %s, NULL, now())", whom)
    api_store.execute(
        "INSERT INTO erasures (erasure_id, tenant_id, customer_hash, customer_id, erased_at)"
        " VALUES (%s, %s, %s, %s, '2026-01-01')",
        (rejection_id, *whom, customer),
    )
    key = api_store.key(tenant, *SCOPES)
    row = SignalRow(
        tenant, str(signal_id), event, "purchase", customer, "revenue", 0.8, now, now, f"{MARK}-trace", None, None,
        json.dumps({"note": MARK}),
    )  # fmt: skip
    with open_client(environment["ELASTICSEARCH_URL"]) as client:
        ensure_indices(client, MonthIndices(now.date().replace(day=1)))
        assert write_documents(client, [document(row)]).ok
        client.indices.refresh(index=ALIAS)
    ids = {
        "event_id": event,
        "signal_id": str(signal_id),
        "customer_id": customer,
        "rejection_id": str(rejection_id),
        "erasure_id": str(rejection_id),
        "slug": MARK,
        "name": MARK,
        "version": "1",
        "plan": "enterprise",
        "prefix": str(parse_prefix(key)),
    }
    return Victim(tenant, key, ids)


def belongings(api_store: Any, tenant_id: int) -> dict[str, Any]:
    """All rows of the tenant, as text; but not what its own calls leave in the log."""
    tables = ["event_keys", "events", "signals", "customers", "rejected_events", "event_types", "outbox"]
    tables += ["schema_violations", "tombstones", "erasures"]
    found = {
        table: sorted(
            api_store.execute(f"SELECT {table}::text FROM {table} WHERE tenant_id = %s", (tenant_id,))
        )
        for table in tables
    }
    keys = "SELECT prefix, scopes, expires_at, revoked_at FROM api_keys WHERE tenant_id = %s ORDER BY 1"
    return found | {
        "api_keys": api_store.execute(keys, (tenant_id,)),
        "tenants": api_store.execute("SELECT tenants::text FROM tenants WHERE tenant_id = %s", (tenant_id,)),
    }


def missing(name: str) -> str:
    """An id of the same form as what is asked for, which nobody has."""
    if name in ("signal_id", "rejection_id", "erasure_id"):
        return "3f0c8a52-91d7-8b44-a3c1-5e7d20f19600"
    return {"prefix": "aaaaaaaaaa", "version": "7"}.get(name, "nobodys")


def without_instance(answer: httpx.Response) -> tuple[int, Any]:
    body = answer.json() if answer.content else None
    return answer.status_code, {**body, "instance": None} if isinstance(body, dict) else body


def queries(item: dict[str, Any], ids: dict[str, str]) -> list[dict[str, str]]:
    """No filter, and each filter that can name something of the victim's."""
    names = {parameter["name"] for parameter in item.get("parameters", []) if parameter["in"] == "query"}
    told = ids | {"trace_id": f"{MARK}-trace", "q": MARK, "event_type": MARK}
    filters: list[dict[str, str]] = [{}] + [{name: told[name]} for name in sorted(names & told.keys())]
    required = {"trace_id"} if "trace_id" in names and "customer_id" not in names else set()
    return [each for each in filters if required <= each.keys()]


def test_no_route_shows_changes_or_tells_of_what_belongs_to_another_tenant(
    environment: dict[str, str], api_serving: Any, api_store: Any, victim: Victim, record_property: Any
) -> None:
    attacker = api_store.tenant("mallory-ltd")
    before = belongings(api_store, victim.tenant_id)
    attempts = 0
    with api_serving(environment) as client:
        # The victim itself sees all of it: what is asked for exists, and where it is asked for.
        own = bearer(victim.key)
        for path in (
            "/v1/signals",
            "/v1/customers",
            "/v1/rejected",
            "/v1/search?q=" + MARK,
            "/v1/event-types",
            f"/v1/event-types/{MARK}/violations",
        ):
            assert MARK in client.get(path, headers=own).text, path

        operations = [
            (path, method, operation)
            for path, item in client.get("/openapi.json").json()["paths"].items()
            if path.startswith("/v1/")
            for method, operation in item.items()
        ]
        # Last what leaves the attacker with something of its own of the same name.
        for path, method, operation in sorted(operations, key=lambda each: each[1::-1] in OWN_MATTERS):
            names = re.findall(r"\{(\w+)\}", path)
            url = path.format(**victim.ids)
            nowhere = path.format(**{name: missing(name) for name in names})
            body = BODIES.get((method, path))
            for scopes in (*((scope,) for scope in SCOPES), SCOPES):
                headers = bearer(api_store.key(attacker, *scopes))
                for query in queries(operation, victim.ids):
                    asked = {"params": query, "json": body, "headers": headers}
                    answer = client.request(method, url, **asked)
                    attempts += 1
                    where = (method, path, scopes, query, answer.text)
                    if (method, path) in OWN_MATTERS:
                        assert answer.status_code in (200, 201, 202, 204, 403), where
                        continue
                    # What it asked for itself stands in its own log.
                    assert MARK not in re.sub(r'"target":"[^"]*"', "", answer.text), where
                    if names:
                        assert answer.status_code in (403, 404), where
                        assert without_instance(answer) == without_instance(
                            client.request(method, nowhere, **asked)
                        ), where
    assert belongings(api_store, victim.tenant_id) == before
    assert attempts > 100
    record_property("cross_tenant_attempts", attempts)
