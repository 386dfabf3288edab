"""Search, Redis, tenants and disks, as a maintenance worker measures them."""

from pathlib import Path

from api_store import ApiStore
from elasticsearch import Elasticsearch
from measured import labels_of, shown, write
from psycopg_pool import ConnectionPool
from redis import Redis

from common.metrics import Metrics
from common.queue.queued_bytes import BYTES_KEY
from common.queue.streams import WITHHELD_KEY
from worker.measuring.disks import measure_disks
from worker.measuring.queue import measure_redis
from worker.measuring.search import measure_search
from worker.measuring.tenants import SHOWN, measure_tenants


def test_the_search_server_shows_health_and_indices(
    search: Elasticsearch, index: str, metrics: Metrics
) -> None:
    write(search, index, "00000000-0000-7000-8000-000000000001")
    search.indices.refresh(index=index)

    measure_search(search, metrics)

    statuses = {shown(metrics, "sspp_search_health", status=status) for status in ("green", "yellow")}
    assert statuses == {0, 1}
    assert shown(metrics, "sspp_search_health", status="red") == 0
    assert shown(metrics, "sspp_search_documents", index=index) == 1
    search.indices.delete(index=index)
    measure_search(search, metrics)
    assert labels_of(metrics, "sspp_search_documents") == set()


def test_redis_shows_its_memory_and_who_listens(client: Redis, metrics: Metrics) -> None:
    measure_redis(client, metrics)

    assert (shown(metrics, "sspp_redis_memory_bytes") or 0) > 0
    assert shown(metrics, "sspp_redis_memory_limit_bytes") is not None
    assert {
        queue: shown(metrics, "sspp_workers", queue=queue) for queue in ("ingest", "index", "maintenance")
    } == {
        "ingest": 0,
        "index": 0,
        "maintenance": 0,
    }


def test_the_largest_tenants_show_and_leave_when_others_are_larger(
    pool: ConnectionPool, client: Redis, api_store: ApiStore, metrics: Metrics
) -> None:
    ids = [api_store.tenant(f"t{number}") for number in range(SHOWN + 1)]
    for number, tenant_id in enumerate(ids):
        api_store.execute(
            "INSERT INTO usage VALUES (%s, date_trunc('month', now() AT TIME ZONE 'UTC'), %s)",
            (tenant_id, number),
        )
    api_store.execute(
        "INSERT INTO usage_parts VALUES (%s, date_trunc('month', now() AT TIME ZONE 'UTC'), 1, 5)", (ids[1],)
    )
    api_store.execute("UPDATE tenants SET plan = 'trial' WHERE tenant_id = %s", (ids[1],))
    client.hset(BYTES_KEY, mapping={str(ids[3]): 300, "total": 300, "drained": 9})
    client.hset(WITHHELD_KEY, str(ids[4]), 12)

    measure_tenants(pool, client, metrics)

    assert labels_of(metrics, "sspp_tenant_month_events") == {f"t{number}" for number in range(1, SHOWN + 1)}
    assert shown(metrics, "sspp_tenant_month_events", tenant="t1") == 6
    assert shown(metrics, "sspp_tenant_month_limit_events", tenant="t1") == 100_000
    assert labels_of(metrics, "sspp_tenant_month_limit_events") == {"t1"}
    assert shown(metrics, "sspp_tenant_queued_bytes", tenant="t3") == 300
    assert shown(metrics, "sspp_tenant_withheld_events", tenant="t4") == 12
    assert (shown(metrics, "sspp_tenants", status="active") or 0) >= SHOWN + 1

    client.delete(BYTES_KEY, WITHHELD_KEY)
    api_store.execute("UPDATE usage SET events = 100 WHERE tenant_id = %s", (ids[0],))
    measure_tenants(pool, client, metrics)
    assert labels_of(metrics, "sspp_tenant_queued_bytes") == set()
    assert shown(metrics, "sspp_tenant_month_events", tenant="t2") is None


def test_a_disk_shows_its_room_and_a_missing_one_hides_no_other(tmp_path: Path, metrics: Metrics) -> None:
    measure_disks(f"{tmp_path}, {tmp_path}/nowhere", metrics)

    free = shown(metrics, "sspp_disk_free_bytes", path=str(tmp_path))
    size = shown(metrics, "sspp_disk_size_bytes", path=str(tmp_path))
    assert free is not None
    assert size is not None
    assert 0 < free < size
    assert labels_of(metrics, "sspp_disk_size_bytes") == {str(tmp_path)}
