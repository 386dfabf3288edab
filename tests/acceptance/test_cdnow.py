"""The main job on real input: 69,659 purchases, from the file to the database, the API and the search index."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import httpx
import pytest
from black_box import Platform
from starting import Starter, read_environment

FILE = "data/cdnow_purchases.csv.gz"
EVENTS, CUSTOMERS, QUANTITY, AMOUNT = 69_659, 23_570, 167_881, Decimal("2500315.63")
DEADLINE_SECONDS = 240

# Alone on two cores it is half a minute; beside other tests it may be several times that.
pytestmark = pytest.mark.timeout(600)


def load(platform: Platform) -> dict[str, Any]:
    """Load the file and wait until it is stored; returns the summary."""
    done: subprocess.CompletedProcess[str] = platform.sspp("load", FILE, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def is_indexed(platform: Platform, tenant_id: int) -> bool:
    """Whether the index shows everything. Asked seldom: the answer costs both servers time that they need."""
    time.sleep(0.25)
    ((indexed,),) = platform.sql(
        "SELECT coalesce(sum(cardinality(signal_ids)), 0) FROM outbox"
        " WHERE tenant_id = %s AND indexed_at IS NOT NULL",
        tenant_id,
    )
    return indexed >= EVENTS and count_documents(platform, tenant_id) == EVENTS


def count_documents(platform: Platform, tenant_id: int) -> int:
    platform.search("/signals/_refresh")
    found = platform.search("/signals/_count", query={"term": {"tenant_id": tenant_id}})
    return int(found["count"])


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """A platform of this module's own: every search of other tests would walk through its documents, too."""
    starter = Starter()
    with closing(Platform(starter.folder, read_environment(starter.folder / "env"))) as made:
        yield made
    starter.stop()


@pytest.fixture(scope="module")
def demo(platform: Platform) -> int:
    """The number of the tenant that `sspp up` made; nothing else is loaded for it."""
    ((tenant_id,),) = platform.sql("SELECT tenant_id FROM tenants WHERE slug = 'demo'")
    return int(tenant_id)


@pytest.fixture(scope="module")
def loaded(platform: Platform, demo: int, until: Callable[..., object]) -> Platform:
    """The platform after the load."""
    assert load(platform)["accepted"] == EVENTS
    until(lambda: is_indexed(platform, demo), timeout=DEADLINE_SECONDS)
    return platform


def test_every_purchase_is_in_the_database_once_and_to_the_cent(loaded: Platform, demo: int) -> None:
    totals = loaded.sql(
        "SELECT event_type, count(*), count(DISTINCT customer_id), sum((data ->> 'quantity')::integer), sum(amount)"
        " FROM signals WHERE tenant_id = %s GROUP BY event_type",
        demo,
    )
    kept = loaded.sql(
        "SELECT count(*), sum(signal_count), sum((counts ->> 'purchase')::integer),"
        " sum((totals ->> 'USD')::numeric) FROM customers WHERE tenant_id = %s",
        demo,
    )
    days = loaded.sql(
        "SELECT min(occurred_at)::date::text, max(occurred_at)::date::text FROM signals WHERE tenant_id = %s",
        demo,
    )

    assert totals == [("purchase", EVENTS, CUSTOMERS, QUANTITY, AMOUNT)]
    assert kept == [(CUSTOMERS, EVENTS, EVENTS, AMOUNT)]
    assert days == [("1997-01-01", "1998-06-30")]


def test_the_api_and_the_index_tell_the_same(loaded: Platform, demo: int) -> None:
    with loaded.client(loaded.environment["SSPP_API_KEY"]) as api:
        best = api.get("/v1/customers/07592").raise_for_status().json()
        found = api.get("/v1/search", params={"event_type": "purchase"}).raise_for_status().json()
        his = api.get("/v1/search", params={"q": "07592", "customer_id": "07592"}).raise_for_status().json()
        walked = walk(api, "/v1/signals", customer_id="07592")
        timeline = walk(api, "/v1/customers/07592/timeline")

    assert (best["signal_count"], best["counts"], best["totals"]) == (
        201,
        {"purchase": 201},
        {"USD": "13990.93"},
    )
    assert (
        count_documents(loaded, demo) == found["total"] == found["facets"]["event_type"]["purchase"] == EVENTS
    )
    assert his["total"] == len(walked) == len(timeline) == 201
    assert sum(Decimal(signal["amount"]) for signal in walked) == Decimal("13990.93")


def test_loading_again_adds_and_changes_nothing_anywhere(loaded: Platform, demo: int) -> None:
    before = state(loaded, demo)

    assert load(loaded)["accepted"] == EVENTS
    assert state(loaded, demo) == before


def walk(api: httpx.Client, path: str, **parameters: str) -> list[dict[str, Any]]:
    """All items of a list, page by page."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get(path, params={"limit": 60, **parameters, **cursor}).raise_for_status().json()
        items += page["items"]
        if not page["next_cursor"]:
            return items
        cursor = {"cursor": page["next_cursor"]}


def state(platform: Platform, tenant_id: int) -> dict[str, object]:
    """All that a second load could change."""
    hits = platform.search(
        "/signals/_search",
        query={"bool": {"filter": [{"term": {"tenant_id": tenant_id}}, {"term": {"customer_id": "07592"}}]}},
        size=500,
        version=True,
        seq_no_primary_term=True,
    )["hits"]["hits"]
    return {
        "rows": platform.sql(
            "SELECT (SELECT count(*) FROM event_keys WHERE tenant_id = t), (SELECT count(*) FROM events WHERE"
            " tenant_id = t), (SELECT count(*) FROM signals WHERE tenant_id = t), (SELECT count(*) FROM outbox"
            " WHERE tenant_id = t), (SELECT count(*) FROM rejected_events WHERE tenant_id = t)"
            " FROM (VALUES (%s::integer)) AS asked (t)",
            tenant_id,
        ),
        "customers": platform.sql(
            "SELECT md5(string_agg(customers::text, ',' ORDER BY customer_id)) FROM customers WHERE tenant_id = %s",
            tenant_id,
        ),
        "documents": count_documents(platform, tenant_id),
        "versions": sorted((hit["_id"], hit["_version"], hit["_seq_no"]) for hit in hits),
    }
