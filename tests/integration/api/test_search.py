"""GET /v1/search, with a real search server."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pages
import pytest

from common.envelope import event_key, signal_id
from common.search.bulk import write_documents
from common.search.client import open_client
from common.search.documents import Document, SignalRow, document
from common.search.generations import MonthIndices
from common.search.indices import ensure_indices
from common.search.template import ALIAS

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def found_document(tenant_id: int, event_id: str, **fields: Any) -> Document:
    defaults: dict[str, Any] = {
        "tenant_id": tenant_id,
        "signal_id": str(signal_id(event_key(tenant_id, event_id), 0)),
        "event_id": event_id,
        "event_type": "purchase",
        "customer_id": "c1",
        "signal_type": "revenue",
        "signal_score": 0.8,
        "occurred_at": NOON,
        "received_at": NOON,
        "trace_id": None,
        "amount": Decimal("49.90"),
        "currency": "USD",
        "data": "{}",
    }
    return document(SignalRow(**{**defaults, **fields}))


@pytest.fixture
def add(elasticsearch_url: str, api_tenant: int) -> Iterator[Callable[..., None]]:
    """Writes documents, by event id, each of a purchase of `api_tenant` but for the fields that are given."""
    with open_client(elasticsearch_url) as client:
        for month in (10, 11):
            ensure_indices(client, MonthIndices(date(2026, month, 1)))

        def write(**events: dict[str, Any]) -> None:
            found = [
                found_document(event_id=event_id, **{"tenant_id": api_tenant} | fields)
                for event_id, fields in events.items()
            ]
            outcome = write_documents(client, found)
            assert len(outcome.ok) == len(found), outcome
            client.indices.refresh(index=ALIAS)

        yield write


ids = partial(pages.ids, path="/v1/search")


def test_full_text_filters_facets_and_highlights(
    api: httpx.Client, api_tenant: int, add: Callable[..., None]
) -> None:
    add(
        bike={
            "data": '{"note": "a <b>blue</b> bicycle", "n": 1.5}',
            "received_at": NOON + timedelta(microseconds=5),
        },
        boat={"data": '{"note": "a blue boat"}', "occurred_at": datetime(1, 1, 1, tzinfo=UTC)},
        demo={
            "event_type": "demo_requested",
            "signal_type": "high_intent",
            "customer_id": "c2",
            "amount": None,
            "currency": None,
            "occurred_at": NOON + timedelta(hours=1),
            "received_at": datetime(2026, 10, 1, tzinfo=UTC),
        },
        theirs={"tenant_id": api_tenant + 1, "data": '{"note": "a blue bicycle"}'},
    )

    body = api.get("/v1/search", params={"q": "blue bicycle"}).json()
    [item] = body["items"]
    assert body["total"] == 1
    assert body["next_cursor"] is None
    assert body["facets"] == {"event_type": {"purchase": 1}, "signal_type": {"revenue": 1}}
    assert "<em>" in "".join(item.pop("highlight")["text"])
    assert item == {
        "signal_id": str(signal_id(event_key(api_tenant, "bike"), 0)),
        "event_id": "bike",
        "event_type": "purchase",
        "customer_id": "c1",
        "signal_type": "revenue",
        "signal_score": 0.8,
        "occurred_at": "2026-11-21T12:00:00Z",
        "received_at": "2026-11-21T12:00:00.000005Z",
        "trace_id": None,
        "amount": "49.90",
        "currency": "USD",
        "data": {"note": "a <b>blue</b> bicycle", "n": 1.5},
    }

    newest_first = ["demo", "bike", "boat"]
    assert ids(api) == newest_first
    assert sorted(ids(api, q="blue")) == ["bike", "boat"]
    assert ids(api, q="c2") == ["demo"]
    assert ids(api, q="boat") == ["boat"]
    assert ids(api, q="blue", event_type="demo_requested") == []
    assert ids(api, event_type=["demo_requested", "purchase"], customer_id="c1") == ["bike", "boat"]
    assert ids(api, signal_type="high_intent") == ["demo"]
    assert ids(api, since="2026-11-21T12:00:00Z", until="2026-11-21T13:00:00Z") == ["bike"]
    assert ids(api, until="1000-01-01") == ["boat"]


def test_pages_hold_everything_once_with_and_without_words(
    api: httpx.Client, add: Callable[..., None]
) -> None:
    events = {
        f"e{number}": {
            "data": '{"note": "' + "blue " * (number + 1) + '"}',
            "occurred_at": NOON + timedelta(hours=number // 2),
        }
        for number in range(7)
    }
    add(**events)
    hits = api.get("/v1/search", params={"limit": 7}).json()["items"]
    by_age = [item["event_id"] for item in hits]
    assert sorted(by_age) == list(events)
    for q in ("", "blue"):
        seen: list[str] = []
        cursor: str | None = None
        while True:
            parameters = {"q": q, "limit": 2, **({"cursor": cursor} if cursor else {})}
            body = api.get("/v1/search", params=parameters).json()
            assert body["total"] >= 7
            seen += [item["event_id"] for item in body["items"]]
            if cursor is None:
                add(**{f"late {q}": {"data": '{"note": "blue"}', "occurred_at": NOON + timedelta(days=1)}})
            cursor = body["next_cursor"]
            if cursor is None:
                break
        assert [event_id for event_id in seen if event_id != "late "] == by_age
    assert api.get("/v1/search", params={"cursor": "x"}).status_code == 422
    cursor = api.get("/v1/search", params={"limit": 1}).json()["next_cursor"]
    assert api.get("/v1/search", params={"limit": 1, "cursor": cursor, "q": "blue"}).status_code == 422


def test_no_words_of_a_user_are_an_error(api: httpx.Client, add: Callable[..., None]) -> None:
    add(e1={})
    for words in (
        '"open',
        "((",
        "+-|*",
        "a AND (",
        "field:x",
        "\\",
        "~5",
        "a*",
        "🙂",
        " ",
        "x " * 32,
        "字" * 32,
        "{}[]",
    ):
        answer = api.get("/v1/search", params={"q": words})
        assert answer.status_code == 200, (words, answer.text)
    for too_much in ("x" * 501, "x " * 33, "字" * 33, ",".join("x" * 33)):
        answer = api.get("/v1/search", params={"q": too_much})
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "q"), too_much
    assert api.get("/v1/search?q=%00").status_code == 422


def test_without_any_index_nothing_is_found(api: httpx.Client) -> None:
    body = api.get("/v1/search", params={"q": "anything"}).json()
    assert body == {
        "total": 0,
        "items": [],
        "facets": {"event_type": {}, "signal_type": {}},
        "next_cursor": None,
    }


def test_search_down_stops_search_and_nothing_else(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any, unserved_port: int
) -> None:
    api_store.event(api_tenant, "e1")
    key = api_store.key(api_tenant, "read", "ingest")
    nowhere = f"http://127.0.0.1:{unserved_port}"
    with api_serving({**environment, "ELASTICSEARCH_URL": nowhere}, key) as client:
        answer = client.get("/v1/search")
        assert (answer.status_code, answer.json()["code"]) == (503, "search_unavailable")
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        assert client.get("/v1/signals").status_code == 200
        assert client.get("/v1/events/e1").status_code == 200
        event = {"event_type": "purchase", "customer_id": "c1", "data": {}}
        assert client.post("/v1/events", json=event).status_code == 202
        assert client.get("/readyz").status_code == 200


def test_weak_signals_can_be_left_out(api: httpx.Client, add: Callable[..., None]) -> None:
    add(weak={"signal_score": 0.3}, strong={"signal_score": 0.9})

    assert ids(api, min_score=0.5) == ["strong"]
    assert sorted(ids(api, min_score=0)) == ["strong", "weak"]
