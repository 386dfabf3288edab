"""Schemas that take long to check: nobody but their tenant waits, and what happens meanwhile counts."""

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

import httpx
import pytest
from own_event_types import SCHEMA, SEVEN, VISIT, put
from patience import PATIENCE_SECONDS
from sending import bearer, problem

from api.database.management import MOST_CHANGES
from common.event_types import registry

Meanwhile = Callable[[Callable[[], None], int], None]


class Gate:
    """Keeps the checks of schemas waiting until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.opened.set()

    def wait(self) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE_SECONDS)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate, check_schema = Gate(), registry.check_schema

    def check(schema: Any) -> None:
        gate.wait()
        check_schema(schema)

    monkeypatch.setattr(registry, "check_schema", check)
    return gate


def test_while_a_tenants_schemas_are_checked_others_are_served(
    seven: httpx.Client, api_store: Any, gate: Gate
) -> None:
    beside = bearer(api_store.key(api_store.tenant("beside"), "tenant_admin", "read"))
    names = [f"visit{number}" for number in range(MOST_CHANGES + 1)]

    # The gate opens before the threads are waited for.
    with ThreadPoolExecutor(len(names) + 1) as threads, gate:
        changes = [threads.submit(put, seven, name=name) for name in names]
        assert gate.reached.wait(PATIENCE_SECONDS)
        # One is too many, and all others wait for the checks.
        [refused], waiting = wait(changes, return_when=FIRST_COMPLETED)
        assert problem(refused.result()) == (429, "tenant_busy")
        for path in ("/v1/admin/tenants/beside/keys", "/v1/rejected/withheld", "/v1/event-types"):
            assert seven.get(path, headers=beside).status_code == 200
        other = threads.submit(seven.put, VISIT, json={"schema": SCHEMA}, headers=beside)
        gate.opened.set()
        assert [change.result().status_code for change in (*waiting, other)] == [201] * (MOST_CHANGES + 1)
    assert put(seven, name="later").status_code == 201


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Has something done while two schemas are compared, the first times that any are."""

    def install(act: Callable[[], None], times: int) -> None:
        compare, left = registry.find_incompatibilities, list(range(times))

        def acting(old: Any, new: Any) -> Any:
            if left:
                left.pop()
                act()
            return compare(old, new)

        monkeypatch.setattr(registry, "find_incompatibilities", acting)

    return install


def other_version(api_store: Any) -> None:
    """What another process registers."""
    api_store.execute(
        "INSERT INTO event_types (tenant_id, event_type, version, schema, description, signal_type, signal_score)"
        " SELECT tenant_id, event_type, max(version) + 1, '{}', 'of another process', 'intent', 0.5"
        " FROM event_types WHERE tenant_id = %s AND event_type = 'visit' GROUP BY tenant_id, event_type",
        (SEVEN,),
    )


def test_a_version_that_came_while_schemas_were_compared_is_compared_with_as_well(
    seven: httpx.Client, api_store: Any, meanwhile: Meanwhile
) -> None:
    put(seven)
    meanwhile(lambda: other_version(api_store), 1)

    answer = put(seven, SCHEMA, signal_score=0.9)

    assert (answer.status_code, answer.json()["code"]) == (409, "incompatible_schema")
    assert "version 2" in answer.json()["detail"]
    assert len(seven.get(VISIT).json()["items"]) == 2


def test_who_is_always_overtaken_is_told_so(
    seven: httpx.Client, api_store: Any, meanwhile: Meanwhile
) -> None:
    put(seven, {})
    meanwhile(lambda: other_version(api_store), 100)

    answer = put(seven, {"title": "A visit"})

    assert (answer.status_code, answer.json()["code"]) == (409, "event_type_error")
    assert "meanwhile" in answer.json()["detail"]
