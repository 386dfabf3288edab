"""People's data on a running platform: exported, erased everywhere, suppressed from then on, kept for a while."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

Until = Callable[..., Any]
New = Callable[..., dict[str, Any]]


def test_a_customer_is_exported_erased_and_a_new_one_from_then_on(
    platform: Any, tenant: Any, new_purchase: New, until: Until
) -> None:
    api, customer = tenant.api, f"c-{uuid4()}"
    of_customer = {"customer_id": customer}

    def send() -> str:
        event_id = f"e-{uuid4()}"
        assert api.post("/v1/events", json=new_purchase(event_id, customer)).status_code == 202
        return event_id

    def found() -> int:
        total: int = api.get("/v1/search", params=of_customer).json()["total"]
        return total

    sent = sorted(send() for _ in range(3))
    until(lambda: found() == 3)
    lines = [json.loads(line) for line in api.get(f"/v1/customers/{customer}/export").text.splitlines()]
    assert sorted(line["item"]["event_id"] for line in lines if line["kind"] == "event") == sent

    receipt = api.delete(f"/v1/customers/{customer}").headers["Location"]
    until(lambda: api.get(receipt).json()["status"] == "done")

    erased = api.get(receipt).json()["erased"]
    assert (erased["customers"], erased["events"], erased["documents"]) == (1, 3, 3)
    assert found() == 0
    assert api.get(f"/v1/customers/{customer}").status_code == 404
    assert api.get("/v1/signals", params=of_customer).json()["items"] == []
    assert [api.get(f"/v1/events/{event_id}").status_code for event_id in sent] == [404] * 3

    send()
    until(lambda: api.get(f"/v1/customers/{customer}").status_code == 200)
    assert api.get(f"/v1/customers/{customer}").json()["signal_count"] == 1


def test_how_long_a_tenants_events_are_kept_is_set_by_command(platform: Any) -> None:
    tenant = platform.new_tenant()
    with tenant.api:
        for days, kept in (("90", 90), ("0", None)):
            changed = platform.sspp("tenants", "change", tenant.slug, "--retention-days", days)
            assert changed.returncode == 0, changed.stderr
            shown = platform.sspp("tenants", "show", tenant.slug, "--json")
            assert json.loads(shown.stdout)[0]["retention_days"] == kept
    refused = platform.sspp("tenants", "change", tenant.slug, "--retention-days", "-1")
    assert refused.returncode == 2
