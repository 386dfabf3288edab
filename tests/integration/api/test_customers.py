"""What the routes of customers answer from PostgreSQL."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
from pages import ids, walk

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_customer_is_shown_with_exact_totals(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any
) -> None:
    api_store.customer(
        api_tenant,
        "07592",
        heat=(NOON - datetime(2000, 1, 1, tzinfo=UTC)) / timedelta(days=30) + 3,
        name="Ada",
        custom_fields='{"exact": 0.10, "big": 12345678901234567890.5}',
        tags='["vip"]',
        signal_count=3,
        counts='{"purchase": 3}',
        signal_counts='{"revenue": 3}',
        totals='{"USD": 13990.93, "JPY": 12345678901234567890, "EUR": -0.10}',
        first_seen=datetime(1997, 1, 1, tzinfo=UTC),
    )
    key = api_store.key(api_tenant, "read")
    with api_serving(environment, key, clock=lambda: NOON + timedelta(days=30)) as client:
        answer = client.get("/v1/customers/07592")

    assert '"exact": 0.10' in answer.text
    assert "12345678901234567890.5" in answer.text
    body = answer.json()
    del body["custom_fields"]
    assert body == {
        "customer_id": "07592",
        "name": "Ada",
        "email": None,
        "phone": None,
        "tags": ["vip"],
        "signal_count": 3,
        "counts": {"purchase": 3},
        "signal_counts": {"revenue": 3},
        "totals": {"USD": "13990.93", "JPY": "12345678901234567890", "EUR": "-0.10"},
        "score": 4.0,
        "first_seen": "1997-01-01T00:00:00Z",
        "last_seen": "2026-11-21T12:00:00Z",
    }


def test_sorting_by_score_puts_the_hottest_first_and_the_heatless_last(
    api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    heats = {"a": 1.5, "b": None, "c": 300.25, "d": 1.5, "e": None, "f": -20.0, "g": 1.5, "h": None}
    for customer_id, heat in heats.items():
        api_store.customer(api_tenant, customer_id, heat=heat)
    by_score = ["c", "a", "d", "g", "f", "b", "e", "h"]

    assert ids(api, "/v1/customers", "customer_id", sort="score") == by_score
    assert ids(api, "/v1/customers", "customer_id") == by_score
    for limit in (1, 2, 3):
        assert walk(api, "/v1/customers", "customer_id", sort="score", limit=limit) == by_score
        assert walk(api, "/v1/customers", "customer_id", sort="customer_id", limit=limit) == sorted(heats)
    assert api.get("/v1/customers", params={"sort": "name"}).status_code == 422


def test_a_customer_id_may_hold_any_characters(api: httpx.Client, api_store: Any, api_tenant: int) -> None:
    strange = [
        "a/b",
        "a/timeline",
        "/",
        "//",
        "ü €",
        "100%",
        "a%2Fb",
        "x?y#z",
        "..",
        ".",
        " ",
        "timeline",
    ]
    for customer_id in strange:
        api_store.customer(api_tenant, customer_id)
        api_store.event(api_tenant, f"of {customer_id}", customer_id=customer_id)
    for customer_id in strange:
        # httpx resolves dots by itself unless they are encoded.
        path = quote(customer_id, safe="").replace(".", "%2E")
        assert api.get(f"/v1/customers/{path}").json()["customer_id"] == customer_id
        assert ids(api, f"/v1/customers/{path}/timeline") == [f"of {customer_id}"]
        assert ids(api, "/v1/signals", customer_id=customer_id) == [f"of {customer_id}"]


def test_an_id_that_is_no_text_is_refused(api: httpx.Client) -> None:
    for path in ("", "%00", "%ED%A0%80", "%FF", "x%00/timeline"):
        answer = api.get(f"/v1/customers/{path}")
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "customer_id")


def test_the_timeline_is_in_order_and_bounded_by_the_period(
    api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    for number in range(5):
        api_store.event(api_tenant, f"e{number}", occurred_at=NOON + number * HOUR)
    api_store.event(api_tenant, "other", customer_id="c2")
    api_store.customer(api_tenant, "c1")

    assert walk(api, "/v1/customers/c1/timeline", limit=2) == ["e0", "e1", "e2", "e3", "e4"]
    period = {"since": "2026-11-21T13:00:00Z", "until": "2026-11-21T15:00:00Z"}
    assert ids(api, "/v1/customers/c1/timeline", **period) == ["e1", "e2"]
    assert ids(api, "/v1/customers/c1/timeline", since="2027-01-01") == []
    assert api.get("/v1/customers/nobody/timeline").status_code == 404
    assert api.get("/v1/customers/nobody").status_code == 404
