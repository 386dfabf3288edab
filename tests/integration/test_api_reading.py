"""What the reading routes answer from PostgreSQL."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ids(client: httpx.Client, path: str, key: str = "event_id", **parameters: Any) -> list[str]:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return [item[key] for item in answer.json()["items"]]


def walk(client: httpx.Client, path: str, key: str = "event_id", **parameters: Any) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        answer = client.get(path, params={**parameters, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found += [item[key] for item in body["items"]]
        cursor = body["next_cursor"]
        if cursor is None:
            return found


class TestSignals:
    def test_a_signal_is_shown_with_exact_numbers(
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
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

    def test_an_unknown_signal_is_not_found(self, api: httpx.Client) -> None:
        answer = api.get(f"/v1/signals/{UUID(int=0)}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    def test_the_newest_come_first_over_all_types_and_partitions(
        self, api: httpx.Client, api_store: Any, api_tenant: int
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

    def test_filters_combine(self, api: httpx.Client, api_store: Any, api_tenant: int) -> None:
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
        self, api: httpx.Client, api_store: Any, api_tenant: int, filters: dict[str, str]
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
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
        api_store.event(api_tenant, "e1")
        assert len(api.get("/v1/signals?since=2026-11-21T14:00:00+02:00").json()["items"]) == 1
        assert api.get("/v1/signals?since=2026-11-21T14:00:01+02:00").json()["items"] == []

    def test_the_first_and_the_last_instant_are_shown_and_paged(
        self, api: httpx.Client, api_store: Any, api_tenant: int
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

    @pytest.mark.parametrize("filters", [{}, {"customer_id": "c1"}, {"event_type": "purchase"}])
    def test_pages_neither_double_nor_skip_while_signals_arrive(
        self, api: httpx.Client, api_store: Any, api_tenant: int, filters: dict[str, Any]
    ) -> None:
        # All at one instant: only the id tells them apart.
        for number in range(7):
            api_store.event(api_tenant, f"old-{number}")
        seen: list[str] = []
        cursor: str | None = None
        for page in range(10):
            parameters = {**filters, "limit": 2, **({"cursor": cursor} if cursor else {})}
            body = api.get("/v1/signals", params=parameters).json()
            seen += [item["event_id"] for item in body["items"]]
            api_store.event(api_tenant, f"newer-{page}", occurred_at=NOON + HOUR)
            api_store.event(api_tenant, f"same-{page}")
            api_store.event(api_tenant, f"older-{page}", occurred_at=NOON - HOUR)
            cursor = body["next_cursor"]
            if cursor is None:
                break

        assert len(seen) == len(set(seen))
        assert {f"old-{number}" for number in range(7)} <= set(seen)
        assert not any(event_id.startswith("newer") for event_id in seen)

    def test_a_cursor_serves_only_the_list_it_came_from(
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
        for number in range(3):
            api_store.event(api_tenant, f"e{number}")
        cursor = api.get("/v1/signals", params={"limit": 1}).json()["next_cursor"]
        flipped = ("A" if cursor[10] != "A" else "B").join([cursor[:10], cursor[11:]])

        for parameters in (
            {"cursor": flipped},
            {"cursor": cursor[:-3]},
            {"cursor": "not a cursor"},
            {"cursor": "ü"},
            {"cursor": cursor, "event_type": "purchase"},
            {"cursor": cursor, "customer_id": "c1"},
        ):
            answer = api.get("/v1/signals", params=parameters)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), parameters
            assert answer.json()["errors"][0]["parameter"] == "cursor"
        # The page may change its size.
        assert api.get("/v1/signals", params={"cursor": cursor, "limit": 2}).status_code == 200

    def test_a_parameter_that_makes_no_sense_is_named(self, api: httpx.Client) -> None:
        for query, parameter in [
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("limit=many", "limit"),
            ("since=yesterday", "since"),
            ("until=2026-11-21T12:00:00", "until"),
            ("since=0001-01-01T00:00:00%2B05:00", "since"),
            ("until=10000-01-01T00:00:00Z", "until"),
            ("custmer_id=c1", "custmer_id"),
            ("customer_id=%00", "query"),
            ("customer_id=%ED%A0%80", "query"),
            ("event_type=%FF", "query"),
        ]:
            answer = api.get(f"/v1/signals?{query}")
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), query
            assert answer.json()["errors"][0]["parameter"] == parameter


class TestEvents:
    def test_an_event_is_shown_exactly_as_received(
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
        raw = '{"event_id":"a/ü", "data":{"n":1.10,"s":"\\u0000\\ud800"},\n "data2":1e999}'
        signal_id = api_store.event(api_tenant, "a/ü", raw=raw, trace_id="t1")

        for path in ("/v1/events/a%2F%C3%BC", "/v1/events/a/%C3%BC"):
            answer = api.get(path)
            assert answer.status_code == 200, answer.text
            assert raw in answer.text
            body = answer.json()
            assert body["event_id"] == "a/ü"
            assert body["signals"] == [str(signal_id)]
            assert "code" not in body

    def test_an_event_is_stored_until_its_batch_is_indexed(
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
        signal_id = api_store.event(api_tenant, "e1", batch_id=7)
        api_store.execute(
            "INSERT INTO outbox (batch_id, tenant_id, signal_ids, received_from, received_until)"
            " VALUES (7, %s, %s, now(), now())",
            (api_tenant, [signal_id]),
        )
        assert api.get("/v1/events/e1").json()["status"] == "stored"
        api_store.execute("UPDATE outbox SET indexed_at = now()")
        assert api.get("/v1/events/e1").json()["status"] == "indexed"
        api_store.execute("DELETE FROM outbox")
        assert api.get("/v1/events/e1").json()["status"] == "indexed"

    def test_an_event_is_unknown_then_rejected_then_stored(
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
        answer = api.get("/v1/events/e1")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

        api_store.rejection(api_tenant, "e1")
        body = api.get("/v1/events/e1").json()
        assert body["status"] == "rejected"
        assert body["code"] == "schema_violation"
        assert body["path"] == "/data/amount"
        assert body["event"]["data"] == {"amount": -5}

        api_store.event(api_tenant, "e1", signal_type=None)
        body = api.get("/v1/events/e1").json()
        assert (body["status"], body["signals"]) == ("indexed", [])

    def test_a_trace_lists_its_events_in_order(
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
        for number in range(5):
            # Received in another order, on several days of two months.
            api_store.event(
                api_tenant,
                f"e{number}",
                trace_id="t1",
                occurred_at=NOON - number * HOUR,
                received_at=NOON - (number * 17 % 5) * timedelta(days=9),
            )
        other = api_store.event(api_tenant, "other", trace_id="t2")

        assert walk(api, "/v1/events", trace_id="t1", limit=2) == ["e4", "e3", "e2", "e1", "e0"]
        [item] = api.get("/v1/events", params={"trace_id": "t2"}).json()["items"]
        assert item["signals"] == [str(other)]
        assert ids(api, "/v1/events", trace_id="t3") == []
        assert api.get("/v1/events").status_code == 422


class TestCustomers:
    def test_a_customer_is_shown_with_exact_totals(
        self, environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any
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
        self, api: httpx.Client, api_store: Any, api_tenant: int
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

    def test_nobody_is_listed_twice_while_scores_rise(
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
        for number in range(6):
            api_store.customer(api_tenant, f"c{number}", heat=float(number))
        seen: list[str] = []
        cursor = None
        for step in range(4):
            parameters = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            body = api.get("/v1/customers", params=parameters).json()
            seen += [item["customer_id"] for item in body["items"]]
            api_store.execute(
                "UPDATE customers SET heat = heat + 10 WHERE customer_id = %s", (f"c{5 - step}",)
            )
            cursor = body["next_cursor"]
            if cursor is None:
                break
        assert len(seen) == len(set(seen))

    def test_a_customer_id_may_hold_any_characters(
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
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

    def test_an_id_that_is_no_text_is_refused(self, api: httpx.Client) -> None:
        for path in ("", "%00", "%ED%A0%80", "%FF", "x%00/timeline"):
            answer = api.get(f"/v1/customers/{path}")
            assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "customer_id")

    def test_the_timeline_is_in_order_and_bounded_by_the_period(
        self, api: httpx.Client, api_store: Any, api_tenant: int
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


class TestEventTypes:
    def test_the_platforms_and_the_tenants_own_are_listed(
        self, api: httpx.Client, api_store: Any, api_tenant: int
    ) -> None:
        stranger = api_store.tenant("stranger")
        for tenant_id, name in ((api_tenant, "aaa.visit"), (stranger, "aaa.secret")):
            api_store.execute(
                "INSERT INTO event_types (tenant_id, event_type, version, schema, signal_type, signal_score)"
                """ VALUES (%s, %s, 1, '{"type": "object", "maximum": 1.10}', 'intent', 0.3)""",
                (tenant_id, name),
            )
        answer = api.get("/v1/event-types", params={"limit": 500})
        first, *others = answer.json()["items"]
        assert first == {
            "name": "aaa.visit",
            "version": 1,
            "description": "",
            "owner": "tenant",
            "signal_type": "intent",
            "signal_score": 0.3,
            "schema": {"type": "object", "maximum": 1.10},
        }
        assert "1.10" in answer.text
        names = [item["name"] for item in others]
        assert "purchase" in names
        assert "aaa.secret" not in names
        assert {item["owner"] for item in others} == {"platform"}
        assert walk(api, "/v1/event-types", "name", limit=3) == ["aaa.visit", *names]
        assert json.loads(answer.text)["next_cursor"] is None
