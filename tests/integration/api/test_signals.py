"""What the routes of signals answer from PostgreSQL."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from pages import ids, walk

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_signal_is_shown_with_exact_numbers(api: httpx.Client, api_store: Any, api_tenant: int) -> None:
    exact = '{"amount": 1234567890123456789.10, "huge": 1' + "0" * 400 + "}"
    signal_id = api_store.event(
        api_tenant,
        "e1",
        amount="1234567890123456789.10",
        data=exact,
        trace_id="t1",
        received_at=NOON + timedelta(microseconds=1),
    )

    answer = api.get(f"/v1/signals/{signal_id}")

    assert answer.status_code == 200
    assert '"amount":1234567890123456789.10' in answer.text.replace(": ", ":")
    assert "1" + "0" * 400 in answer.text
    body = answer.json(parse_int=str, parse_float=str)
    assert body.pop("data")["amount"] == "1234567890123456789.10"
    assert body == {
        "signal_id": str(signal_id),
        "event_id": "e1",
        "event_type": "purchase",
        "customer_id": "c1",
        "signal_type": "revenue",
        "signal_score": "0.8",
        "occurred_at": "2026-11-21T12:00:00Z",
        "received_at": "2026-11-21T12:00:00.000001Z",
        "trace_id": "t1",
        "amount": "1234567890123456789.10",
        "currency": "USD",
    }


def test_an_unknown_signal_is_not_found(api: httpx.Client) -> None:
    answer = api.get(f"/v1/signals/{UUID(int=0)}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_newest_come_first_over_all_types_and_partitions(
    api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    types = ["purchase", "inquiry", "call_made"]
    for number in range(9):
        api_store.event(
            api_tenant,
            f"e{number}",
            event_type=types[number % 3],
            occurred_at=NOON + number * HOUR,
            # Far-off months lie in the default partition, this month in its own.
            received_at=datetime(2020 + number, 11, 21, tzinfo=UTC),
        )
    newest_first = [f"e{number}" for number in reversed(range(9))]

    assert ids(api, "/v1/signals") == newest_first
    assert walk(api, "/v1/signals", limit=2) == newest_first
    assert walk(api, "/v1/signals", limit=1, customer_id="c1") == newest_first


def test_filters_combine(api: httpx.Client, api_store: Any, api_tenant: int) -> None:
    rows = [
        ("purchase", "c1", "revenue"),
        ("cart_abandoned", "c1", "intent"),
        ("purchase", "c2", "revenue"),
        ("inquiry", "c1", "intent"),
    ]
    for number, (event_type, customer_id, signal_type) in enumerate(rows):
        api_store.event(
            api_tenant,
            f"e{number}",
            event_type=event_type,
            customer_id=customer_id,
            signal_type=signal_type,
            occurred_at=NOON + number * HOUR,
        )
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"customer_id": "c1"}, ["e3", "e1", "e0"]),
        ({"customer_id": "nobody"}, []),
        ({"event_type": "purchase"}, ["e2", "e0"]),
        ({"event_type": ["purchase", "inquiry"]}, ["e3", "e2", "e0"]),
        ({"event_type": ["purchase", "purchase"]}, ["e2", "e0"]),
        ({"event_type": "unheard_of"}, []),
        ({"signal_type": "intent"}, ["e3", "e1"]),
        ({"signal_type": ["intent", "revenue"], "customer_id": "c1"}, ["e3", "e1", "e0"]),
        ({"event_type": "purchase", "customer_id": "c1"}, ["e0"]),
        ({"event_type": "purchase", "signal_type": "intent"}, []),
        ({"since": "2026-11-21T13:00:00Z"}, ["e3", "e2", "e1"]),
        ({"until": "2026-11-21T13:00:00Z"}, ["e0"]),
        ({"since": "2026-11-21T15:00:00+02:00", "until": "2026-11-21T14:00:00Z"}, ["e1"]),
        ({"since": "2026-11-21", "until": "2026-11-22"}, ["e3", "e2", "e1", "e0"]),
        ({"customer_id": "c1", "since": "2026-11-21T13:00:00Z"}, ["e3", "e1"]),
        (
            {"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59.999999Z"},
            ["e3", "e2", "e1", "e0"],
        ),
    ]
    for filters, expected in cases:
        assert ids(api, "/v1/signals", **filters) == expected, filters
        assert walk(api, "/v1/signals", limit=1, **filters) == expected, filters


@pytest.mark.parametrize("filters", [{}, {"customer_id": "c1"}])
def test_weak_signals_can_be_left_out(
    api: httpx.Client, api_store: Any, api_tenant: int, filters: dict[str, str]
) -> None:
    for event_id in ("weak", "strong"):
        api_store.event(api_tenant, event_id)
    api_store.execute("UPDATE signals SET signal_score = 0.3 WHERE event_id = 'weak'")

    def listed(**parameters: Any) -> list[str]:
        items = api.get("/v1/signals", params=filters | parameters).json()["items"]
        return sorted(item["event_id"] for item in items)

    assert listed(min_score=0.3) == ["strong", "weak"]
    assert listed(min_score=0.8) == ["strong"]
    assert listed(min_score=0.81) == []
    assert listed(min_score=1e-281) == ["strong", "weak"]
    assert api.get("/v1/signals", params={"min_score": 2}).status_code == 422


def test_a_plus_sign_that_nobody_encoded_is_understood(
    api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    api_store.event(api_tenant, "e1")
    assert len(api.get("/v1/signals?since=2026-11-21T14:00:00+02:00").json()["items"]) == 1
    assert api.get("/v1/signals?since=2026-11-21T14:00:01+02:00").json()["items"] == []


def test_the_first_and_the_last_instant_are_shown_and_paged(
    api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)
    last = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    api_store.event(api_tenant, "first", occurred_at=first)
    api_store.event(api_tenant, "last", occurred_at=last)

    items = api.get("/v1/signals").json()["items"]

    assert [item["occurred_at"] for item in items] == [
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00Z",
    ]
    assert walk(api, "/v1/signals", limit=1) == ["last", "first"]
    assert walk(api, "/v1/customers/c1/timeline", limit=1) == ["first", "last"]
