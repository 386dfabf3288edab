"""A tenant with something of everything, and the requests by which others may ask for it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from api_store import ApiStore

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


def make_victim(environment: dict[str, str], api_store: ApiStore) -> Victim:
    """A tenant whose data others ask for: in PostgreSQL and, with the servers of `environment`, in search."""
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


def missing(name: str) -> str:
    """An id of the same form as what is asked for, which nobody has."""
    if name in ("signal_id", "rejection_id", "erasure_id"):
        return "3f0c8a52-91d7-8b44-a3c1-5e7d20f19600"
    return {"prefix": "aaaaaaaaaa", "version": "7"}.get(name, "nobodys")


@dataclass(frozen=True)
class Operation:
    """A method of a path, and what the OpenAPI document says of it."""

    method: str
    path: str
    document: Mapping[str, Any]

    @property
    def parameters(self) -> list[str]:
        """The names of the ids in the path."""
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def is_own_matter(self) -> bool:
        return (self.method, self.path) in OWN_MATTERS

    def body(self) -> Any:
        return BODIES.get((self.method, self.path))

    def url(self, victim: Victim) -> str:
        """That asks for something of the victim's."""
        return self.path.format(**victim.ids)

    def url_of_nobody(self) -> str:
        """That asks for something that nobody has."""
        return self.path.format(**{name: missing(name) for name in self.parameters})


def operations(client: httpx.Client) -> Iterator[Operation]:
    """Every operation below /v1."""
    for path, item in client.get("/openapi.json").json()["paths"].items():
        if path.startswith("/v1/"):
            for method, found in item.items():
                yield Operation(method, path, found)
