"""Every route of the API, asked by one tenant for what belongs to another: nothing is seen, changed or learnt."""

import re
from typing import Any

import httpx
from sending import bearer
from victims import MARK, SCOPES, Victim, operations


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

        # Last what leaves the attacker with something of its own of the same name.
        for operation in sorted(operations(client), key=lambda each: each.is_own_matter):
            for scopes in (*((scope,) for scope in SCOPES), SCOPES):
                headers = bearer(api_store.key(attacker, *scopes))
                for query in queries(operation.document, victim.ids):
                    asked = {"params": query, "json": operation.body(), "headers": headers}
                    answer = client.request(operation.method, operation.url(victim), **asked)
                    attempts += 1
                    where = (operation.method, operation.path, scopes, query, answer.text)
                    if operation.is_own_matter:
                        assert answer.status_code in (200, 201, 202, 204, 403), where
                        continue
                    # What it asked for itself stands in its own log.
                    assert MARK not in re.sub(r'"target":"[^"]*"', "", answer.text), where
                    if operation.parameters:
                        assert answer.status_code in (403, 404), where
                        assert without_instance(answer) == without_instance(
                            client.request(operation.method, operation.url_of_nobody(), **asked)
                        ), where
    assert belongings(api_store, victim.tenant_id) == before
    assert attempts > 100
    record_property("cross_tenant_attempts", attempts)
