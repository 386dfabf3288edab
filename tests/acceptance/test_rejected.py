"""From a refused event to a stored one: seen, mended, sent through again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

Until = Callable[..., Any]

SCHEMA = {"type": "object", "properties": {"shop": {"type": "string"}}, "required": ["shop"]}


@pytest.fixture
def own_tenant(platform: Any) -> Any:
    """A tenant of this test's own, without any refusal."""
    tenant = platform.new_tenant()
    with tenant.api:
        yield tenant


def test_an_unknown_type_is_refused_and_stored_once_it_exists(
    platform: Any, own_tenant: Any, until: Until, tmp_path: Path
) -> None:
    api = own_tenant.api

    def send(event_id: str, event_type: str, data: dict[str, Any]) -> None:
        event = {"event_id": event_id, "event_type": event_type, "customer_id": "c-1", "data": data}
        assert api.post("/v1/events", json=event).status_code == 202

    def status(event_id: str) -> str:
        return str(api.get(f"/v1/events/{event_id}").json().get("status"))

    def sspp(*arguments: str) -> str:
        done = platform.sspp("rejected", *arguments, SSPP_ADMIN_KEY=own_tenant.key)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    kind = f"visit_{uuid4().hex[:8]}"
    visits = [f"visit-{number}" for number in range(3)]
    for visit in visits:
        send(visit, kind, {"shop": "main"})
    send("bad", "purchase", {"amount": -5, "currency": "USD"})
    until(lambda: [status(each) for each in (*visits, "bad")] == ["rejected"] * 4)

    refused = json.loads(sspp("list", "--json"))
    (bad,) = (each for each in refused if each["event_id"] == "bad")
    assert len(refused) == 4
    assert bad["path"].startswith("/data")
    assert json.loads(sspp("show", bad["rejection_id"])) == bad
    assert [
        each["event_id"] for each in api.get("/v1/rejected", params={"event_type": kind}).json()["items"]
    ] == [each["event_id"] for each in refused if each["event_id"] != "bad"]

    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    added = platform.sspp("event-types", "add", str(schema), "--type", kind, "--tenant", own_tenant.slug)
    assert added.returncode == 0, added.stderr

    def replayed() -> bool:
        # Running workers learn of the type within seconds; until then it is refused again, and open again.
        sspp("replay", "--code", "unknown_event_type")
        until(lambda: all(status(each) != "None" for each in visits))
        return all(status(each) in {"stored", "indexed"} for each in visits)

    until(replayed)
    assert [each["event_id"] for each in json.loads(sspp("list", "--json"))] == ["bad"]
    assert api.get("/v1/customers/c-1").json()["counts"] == {kind: 3}

    # A refusal does not claim its id: the corrected event comes under the same one.
    send("bad", "purchase", {"amount": 5, "currency": "USD"})
    until(lambda: status("bad") in {"stored", "indexed"})
    assert api.get("/v1/customers/c-1").json()["totals"] == {"USD": "5"}
