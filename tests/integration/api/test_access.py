"""Who may ask, and that nobody sees what belongs to others."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import httpx
import psycopg
import pytest

from common.search.bulk import write_documents
from common.search.client import open_client
from common.search.documents import SignalRow, document
from common.search.generations import MonthIndices
from common.search.indices import ensure_indices
from common.search.template import ALIAS

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class MovableClock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@contextmanager
def port_without_server() -> Iterator[int]:
    """A port that nobody answers on, held so that nobody comes to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_no_route_shows_what_belongs_to_another_tenant(
    environment: dict[str, str], api: httpx.Client, api_store: Any, api_tenant: int
) -> None:
    signal_id = api_store.event(api_tenant, "e1", trace_id="t1")
    api_store.customer(api_tenant, "c1", heat=1.0)
    rejection_id = api_store.rejection(api_tenant, "r1")
    api_store.execute(
        "INSERT INTO event_types (tenant_id, event_type, version, schema) VALUES (%s, 'acme.own', 1, '{}')",
        (api_tenant,),
    )
    written = document(
        SignalRow(
            tenant_id=api_tenant,
            signal_id=str(signal_id),
            event_id="e1",
            event_type="purchase",
            customer_id="c1",
            signal_type="revenue",
            signal_score=0.8,
            occurred_at=NOON,
            received_at=NOON,
            trace_id="t1",
            amount=None,
            currency=None,
            data="{}",
        )
    )
    with open_client(environment["ELASTICSEARCH_URL"]) as client:
        ensure_indices(client, MonthIndices(NOON.date().replace(day=1)))
        assert write_documents(client, [written]).ok
        client.indices.refresh(index=ALIAS)
    other = bearer(api_store.key(api_store.tenant("other"), "tenant_admin"))
    paths = {
        "/v1/events": {"trace_id": "t1"},
        "/v1/events/{event_id}": "e1",
        "/v1/signals": {"customer_id": "c1"},
        "/v1/signals/{signal_id}": str(signal_id),
        "/v1/search": {"q": "purchase"},
        "/v1/customers": {},
        "/v1/customers/{customer_id}": "c1",
        "/v1/customers/{customer_id}/timeline": "c1",
        "/v1/rejected": {},
        "/v1/rejected/{rejection_id}": str(rejection_id),
        "/v1/event-types": {"limit": 500},
    }
    document_paths = api.get("/openapi.json").json()["paths"]
    # A new route must be added here. What is withheld is no list; test_release.py looks at it. Tenants and keys are
    # test_admin.py's.
    reading = {p for p, item in document_paths.items() if "get" in item and p.startswith("/v1/")}
    elsewhere = {"/v1/rejected/withheld", "/v1/api-logs"}
    # test_tenant_isolation.py looks at these.
    elsewhere |= {"/v1/erasures", "/v1/erasures/{erasure_id}", "/v1/usage"}
    elsewhere |= {f"/v1/event-types/{{name}}{what}" for what in ("", "/versions/{version}", "/violations")}
    elsewhere |= {f"/v1/customers/{{customer_id}}/{what}" for what in ("suppression", "export")}
    assert {p for p in reading if not p.startswith("/v1/admin")} == {*paths, *elsewhere}

    for path, asked in paths.items():
        parameters = asked if isinstance(asked, dict) else {}
        url = path if isinstance(asked, dict) else f"{path.partition('{')[0]}{asked}{path.partition('}')[2]}"
        mine = api.get(url, params=parameters)
        theirs = api.get(url, params=parameters, headers=other)
        assert mine.status_code == 200, (url, mine.text)
        if "{" in path:
            assert theirs.status_code == 404, url
            continue
        own_items = [item for item in mine.json()["items"] if item.get("owner") != "platform"]
        assert len(own_items) == 1, url
        assert theirs.status_code == 200, url
        assert [item for item in theirs.json()["items"] if item.get("owner") != "platform"] == [], url
    # Not even by way of a cursor.
    api_store.event(api_tenant, "e2")
    cursor = api.get("/v1/signals", params={"limit": 1}).json()["next_cursor"]
    assert api.get("/v1/signals", params={"cursor": cursor}, headers=other).status_code == 422
    replayed = api.post("/v1/rejected/replay", headers=other)
    assert replayed.json() == {"replayed": 0, "more": False}


def test_every_route_asks_for_a_key_with_its_scope(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any
) -> None:
    some_id = "3f0c8a52-91d7-8b44-a3c1-5e7d20f19600"
    needed = {
        ("post", "/v1/events"): "ingest",
        ("patch", "/v1/customers/c1"): "ingest",
        ("post", "/v1/rejected/replay"): "tenant_admin",
        ("post", "/v1/rejected/release"): "tenant_admin",
        ("get", "/v1/api-logs"): "tenant_admin",
        ("delete", "/v1/customers/c1"): "tenant_admin",
        ("get", "/v1/customers/c1/export"): "tenant_admin",
        ("put", "/v1/customers/c1/suppression"): "tenant_admin",
        ("get", "/v1/customers/c1/suppression"): "tenant_admin",
        ("delete", "/v1/customers/c1/suppression"): "tenant_admin",
        ("get", "/v1/erasures"): "tenant_admin",
        ("get", f"/v1/erasures/{some_id}"): "tenant_admin",
        ("get", "/v1/admin/tenants"): "admin",
        ("post", "/v1/admin/tenants"): "admin",
        ("get", "/v1/admin/tenants/t"): "tenant_admin",
        ("patch", "/v1/admin/tenants/t"): "tenant_admin",
        ("get", "/v1/admin/plans"): "admin",
        ("put", "/v1/admin/plans/p"): "admin",
        ("put", "/v1/event-types/n"): "tenant_admin",
        ("patch", "/v1/event-types/n/versions/1"): "tenant_admin",
        ("delete", "/v1/admin/tenants/t"): "admin",
        ("get", "/v1/admin/tenants/t/keys"): "tenant_admin",
        ("post", "/v1/admin/tenants/t/keys"): "tenant_admin",
        ("post", "/v1/admin/tenants/t/keys/k/rotations"): "tenant_admin",
        ("delete", "/v1/admin/tenants/t/keys/k"): "tenant_admin",
    }
    lesser = {"admin": ["ingest", "read", "tenant_admin"], "tenant_admin": ["ingest", "read"]}
    with api_serving(environment) as client:
        for path, item in client.get("/openapi.json").json()["paths"].items():
            if not path.startswith("/v1/"):
                continue
            ids = {"event_id": "e1", "customer_id": "c1"}
            ids |= dict.fromkeys(("signal_id", "rejection_id", "erasure_id"), some_id)
            url = path.format(**ids, slug="t", prefix="k", plan="p", name="n", version="1")

            for method in item:
                scope = needed.get((method, url), "read" if method == "get" else "")
                assert scope, f"say which scope {method} {url} needs"
                missing = client.request(method, url)
                assert missing.status_code == 401, (method, url)
                assert missing.headers["www-authenticate"] == "Bearer"
                assert missing.headers["content-type"] == "application/problem+json"
                assert missing.json()["code"] == "unauthorized"
                lacking = api_store.key(api_tenant, *lesser.get(scope, {"read", "ingest"} - {scope}))
                refused = client.request(method, url, headers=bearer(lacking))
                assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope"), (method, url)
                # An admin key may do everything: whatever is wrong now, it is not the key.
                admin = bearer(api_store.key(api_tenant, "admin"))
                assert client.request(method, url, headers=admin).status_code not in (401, 403)


def test_only_the_whole_valid_key_opens(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any
) -> None:
    clock = MovableClock()
    good = api_store.key(api_tenant, "read", expires_at=NOON + timedelta(seconds=5))
    with api_serving(environment, clock=clock) as client:

        def status(authorization: str) -> int:
            return client.get("/v1/signals", headers={"Authorization": authorization}).status_code

        assert status(f"Bearer {good}") == 200
        assert status(f"bearer  {good}") == 200
        for wrong in (
            "",
            "Bearer",
            good,
            f"Basic {good}",
            f"Bearer {good[:-1]}",
            f"Bearer {good[:-1]}{'a' if good[-1] != 'a' else 'b'}",
            f"Bearer {api_store.key(api_tenant, 'read', expires_at=NOON)}",
            f"Bearer {api_store.key(api_tenant, 'read', revoked_at=NOON)}",
            "Bearer sspp_x_y",
        ):
            assert status(wrong) == 401, wrong
        # A remembered key expires all the same.
        clock.now += timedelta(seconds=5)
        assert status(f"Bearer {good}") == 401


def test_a_revoked_key_works_a_second_longer_at_most(
    environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any
) -> None:
    clock = MovableClock()
    with api_serving(environment, api_store.key(api_tenant, "read"), clock=clock) as client:
        assert client.get("/v1/signals").status_code == 200
        api_store.execute("UPDATE api_keys SET revoked_at = now()")
        clock.now += timedelta(seconds=0.9)
        assert client.get("/v1/signals").status_code == 200
        clock.now += timedelta(seconds=0.1)
        assert client.get("/v1/signals").status_code == 401


def test_slow_reads_keep_no_revoked_key_alive(
    environment: dict[str, str],
    api_store: Any,
    api_tenant: int,
    api_serving: Any,
    database_url: str,
    until: Any,
) -> None:
    clock = MovableClock()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with (
        api_serving(environment, api_store.key(api_tenant, "read"), clock=clock) as client,
        ThreadPoolExecutor(8) as threads,
        psycopg.connect(database_url) as slow,
    ):
        assert client.get("/v1/signals").status_code == 200
        slow.execute("LOCK TABLE signals IN ACCESS EXCLUSIVE MODE")
        reads = [threads.submit(client.get, "/v1/signals") for _ in range(8)]
        until(lambda: api_store.execute(waiting) == [(8,)])

        api_store.execute("UPDATE api_keys SET revoked_at = now()")
        clock.now += timedelta(seconds=1)
        assert client.get("/v1/signals").status_code == 401
        assert api_store.execute(waiting) == [(8,)]
        slow.rollback()
        assert {read.result().status_code for read in reads} == {200}


def test_a_known_key_outlives_an_outage_of_postgresql(
    environment: dict[str, str],
    api_store: Any,
    api_tenant: int,
    api_serving: Any,
    database_url: str,
    postgres_server: str,
    until: Any,
) -> None:
    clock = MovableClock()
    known, unknown = api_store.key(api_tenant, "ingest"), api_store.key(api_tenant, "ingest")
    name = database_url.rpartition("/")[2]
    event = {"event_type": "purchase", "customer_id": "c1", "data": {}}
    with api_serving(environment, known, clock=clock) as client:

        def post(key: str) -> httpx.Response:
            return client.post("/v1/events", json=event, headers=bearer(key))

        assert post(known).status_code == 202
        with psycopg.connect(postgres_server, autocommit=True) as server:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
        clock.now += timedelta(minutes=59)
        assert post(known).status_code == 202
        refused = post(unknown)
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        readiness = client.get("/readyz")
        assert (readiness.status_code, readiness.json()["status"]) == (200, "degraded")

        clock.now += timedelta(minutes=2)
        assert post(known).status_code == 503

        with psycopg.connect(postgres_server, autocommit=True) as server:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

        def recovered() -> bool:
            clock.now += timedelta(seconds=5)
            return post(unknown).status_code == 202

        until(recovered, timeout=30)
        assert post(known).status_code == 202


def test_the_api_starts_without_any_server_and_says_so(environment: dict[str, str], api_serving: Any) -> None:
    with port_without_server() as port:
        nowhere = {
            "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{port}/none",
            "REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "ELASTICSEARCH_URL": f"http://127.0.0.1:{port}",
        }
        with api_serving(nowhere) as client:
            assert client.get("/healthz").json() == {"status": "ok"}
            answer = client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["status"] == "unready"
            assert {name: found["status"] for name, found in answer.json()["dependencies"].items()} == {
                "postgresql": "error",
                "redis": "error",
                "elasticsearch": "error",
            }


def test_readiness_needs_redis_and_a_migrated_database_but_not_search(
    environment: dict[str, str], empty_database_url: str, api_serving: Any
) -> None:
    with port_without_server() as port:
        redis, search = f"redis://127.0.0.1:{port}/0", f"http://127.0.0.1:{port}"
        for changed, status in (
            ({}, "ready"),
            ({"ELASTICSEARCH_URL": search}, "degraded"),
            ({"REDIS_URL": redis}, "unready"),
            ({"DATABASE_URL": empty_database_url}, "unready"),
        ):
            with api_serving({**environment, **changed}) as client:
                answer = client.get("/readyz")
            assert answer.json()["status"] == status, changed
            assert answer.status_code == (503 if status == "unready" else 200)
    assert "sspp migrate" in answer.json()["dependencies"]["postgresql"]["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/signals/not-a-uuid", 422, "invalid_request"),
        ("DELETE", "/v1/signals", 405, "method_not_allowed"),
        ("PUT", "/v1/events/e1", 405, "method_not_allowed"),
        ("PUT", "/v1/events", 405, "method_not_allowed"),
    ],
)
def test_every_error_is_a_problem(api: httpx.Client, method: str, path: str, status: int, code: str) -> None:
    answer = api.request(method, path, headers={"X-Request-ID": "my-request"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "my-request"
    problem = answer.json()
    assert problem["type"] == f"urn:sspp:problem:{code}"
    assert problem["instance"] == "urn:sspp:request:my-request"
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["title"]
    assert problem["detail"]
    if status == 405:
        assert answer.headers["allow"]


def test_a_crash_answers_a_bare_problem_and_logs_the_trace(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: object) -> None:
        raise RuntimeError("the inside of the house")

    log = Mock()
    monkeypatch.setattr("api.request_context._log", log)
    monkeypatch.setattr("api.signals.fetch_all", crash)
    answer = api.get("/v1/signals", headers={"X-Request-ID": "unsafe\tid"})

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "inside of the house" not in answer.text
    assert answer.headers["x-request-id"] != "unsafe\tid"
    assert answer.json()["instance"] == f"urn:sspp:request:{answer.headers['x-request-id']}"
    assert 'route="/v1/signals",status="500"' in api.get("/metrics").text
    log.exception.assert_called_once_with("request_crashed", method="GET")
