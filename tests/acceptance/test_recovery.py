"""What a dead process or server leaves behind is taken over within seconds.

Each test makes sure that a worker really holds a batch when the fault strikes: a lock on a table keeps it from
storing what it took.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from redis import Redis
from redis.exceptions import RedisError

Until = Callable[..., Any]
New = Callable[..., dict[str, Any]]

# The promise, counted from the moment that the fault is over.
RECOVERY_SECONDS = 15
# How long servers may take to come back, which is not what is tested.
RESTART_SECONDS = 60

SERVERS = ("postgres", "valkey", "search")
INGEST_WORKERS = ("worker-ingest-1", "worker-ingest-2")
APPLICATIONS = ("api", *INGEST_WORKERS, "worker-index", "worker-maintenance")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def queue(disrupted_platform: Any) -> Iterator[Redis]:
    """The platform's Redis."""
    with Redis.from_url(disrupted_platform.environment["REDIS_URL"]) as client:
        yield client


@contextmanager
def batch_in_hand(platform: Any, event: dict[str, Any], tenant: Any, until: Until) -> Iterator[None]:
    """Send an event; while the context lasts, a worker has taken it and waits for PostgreSQL to let it in."""

    def somebody_waits() -> bool:
        return bool(
            platform.sql(
                "SELECT pid FROM pg_stat_activity"
                " WHERE application_name = 'sspp-worker-ingest' AND wait_event_type = 'Lock'"
            )
        )

    connection = psycopg.connect(platform.environment["DATABASE_URL"])
    try:
        connection.execute("LOCK TABLE customers IN EXCLUSIVE MODE")
        assert tenant.api.post("/v1/events", json=event).status_code == 202
        until(somebody_waits, timeout=RECOVERY_SECONDS)
        yield
    finally:
        with suppress(psycopg.OperationalError):  # the fault may have taken the server
            connection.rollback()
        connection.close()


def busy_workers(queue: Redis) -> set[int]:
    """The process numbers of the ingest workers that run a drain, as they told RQ: one holds the batch at least."""
    workers = [queue.hgetall(name) for name in queue.smembers("rq:workers:ingest")]
    return {int(worker[b"pid"]) for worker in workers if worker.get(b"state") == b"busy"}


def kill(platform: Any, *names: str) -> dict[str, int]:
    return {name: platform.signal(name, signal.SIGKILL) for name in names}


def wait_until_started_again(platform: Any, dead: dict[str, int], until: Until) -> None:
    until(
        lambda: all(platform.pid(name) != pid for name, pid in dead.items()),
        timeout=RESTART_SECONDS,
    )


def status(api: httpx.Client, event_id: str) -> str:
    """The status of an event; empty while it is unknown or nobody answers."""
    try:
        return str(api.get(f"/v1/events/{event_id}").json().get("status", ""))
    except httpx.TransportError:
        return ""


def servers_answer(platform: Any, queue: Redis) -> bool:
    """Whether all servers are back: only then the fault is over."""
    try:
        platform.sql("SELECT 1")
        queue.ping()
        httpx.get(platform.environment["ELASTICSEARCH_URL"], trust_env=False).raise_for_status()
    except (psycopg.OperationalError, RedisError, httpx.HTTPError):
        return False
    return True


def assert_recovers(platform: Any, tenant: Any, event_id: str, new_purchase: New, until: Until) -> None:
    """What was in work is stored in time, exactly once, and so is what comes now."""
    until(lambda: status(tenant.api, event_id) in {"stored", "indexed"}, timeout=RECOVERY_SECONDS)
    fresh = f"fresh-{uuid4()}"

    def accepted() -> bool:
        try:
            return bool(tenant.api.post("/v1/events", json=new_purchase(fresh)).status_code == 202)
        except httpx.TransportError:
            return False

    until(accepted, timeout=RECOVERY_SECONDS)
    until(lambda: status(tenant.api, fresh) == "indexed", timeout=RECOVERY_SECONDS)
    ((signals,),) = platform.sql(
        "SELECT count(*) FROM signals WHERE tenant_id = %s AND event_id = ANY (%s)",
        tenant.tenant_id,
        [event_id, fresh],
    )
    assert signals == 2


def test_what_a_killed_worker_held_is_taken_over_although_every_wake_up_is_lost(
    disrupted_platform: Any, queue: Redis, tenant: Any, new_purchase: New, until: Until
) -> None:
    platform, event_id = disrupted_platform, f"orphan-{uuid4()}"
    with batch_in_hand(platform, new_purchase(event_id), tenant, until):
        busy = busy_workers(queue)
        victims = [name for name in INGEST_WORKERS if platform.pid(name) in busy]
        assert victims
        kill(platform, *victims)
        # All that RQ knows, and all that says that somebody is awake.
        queue.delete(*queue.keys("rq:*"), *queue.keys("sspp:awake:*"))

    assert_recovers(platform, tenant, event_id, new_purchase, until)


def test_work_survives_the_death_of_the_whole_fleet_several_times_in_a_row(
    disrupted_platform: Any, tenant: Any, new_purchase: New, until: Until
) -> None:
    platform, event_id = disrupted_platform, f"fleet-{uuid4()}"
    with batch_in_hand(platform, new_purchase(event_id), tenant, until):
        for _ in range(4):  # whoever dies young is started again after ever longer pauses
            wait_until_started_again(platform, kill(platform, *APPLICATIONS), until)
        kill(platform, *APPLICATIONS)

    assert_recovers(platform, tenant, event_id, new_purchase, until)


def test_work_survives_the_death_of_everything_at_once(
    disrupted_platform: Any, queue: Redis, tenant: Any, new_purchase: New, until: Until
) -> None:
    platform, event_id = disrupted_platform, f"all-{uuid4()}"
    with batch_in_hand(platform, new_purchase(event_id), tenant, until):
        dead = kill(platform, *APPLICATIONS, *SERVERS)
    wait_until_started_again(platform, dead, until)
    until(lambda: servers_answer(platform, queue), timeout=RESTART_SECONDS)

    assert_recovers(platform, tenant, event_id, new_purchase, until)


def test_workers_outlive_a_restart_of_redis_and_finish_what_they_hold(
    disrupted_platform: Any, queue: Redis, tenant: Any, new_purchase: New, until: Until
) -> None:
    platform, event_id = disrupted_platform, f"redis-{uuid4()}"
    workers = (*INGEST_WORKERS, "worker-index", "worker-maintenance")
    before = {name: platform.pid(name) for name in workers}
    # One worker is in the middle of a batch, the others wait for a wake-up.
    with batch_in_hand(platform, new_purchase(event_id), tenant, until):
        wait_until_started_again(platform, kill(platform, "valkey"), until)
        until(lambda: servers_answer(platform, queue), timeout=RESTART_SECONDS)

    assert_recovers(platform, tenant, event_id, new_purchase, until)
    assert {name: platform.pid(name) for name in workers} == before


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(signal.SIGINT, id="fast"),
        pytest.param(signal.SIGQUIT, id="immediate"),
        pytest.param(signal.SIGKILL, id="crash"),
        pytest.param(None, id="sessions"),
    ],
)
def test_a_batch_cut_off_by_postgresql_is_stored_once_it_is_back(
    disrupted_platform: Any,
    queue: Redis,
    tenant: Any,
    new_purchase: New,
    until: Until,
    fault: signal.Signals | None,
) -> None:
    platform, event_id = disrupted_platform, f"postgres-{uuid4()}"
    with batch_in_hand(platform, new_purchase(event_id), tenant, until):
        if fault:
            dead = {"postgres": platform.signal("postgres", fault)}
            wait_until_started_again(platform, dead, until)
        else:
            platform.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'sspp-%%'"
                " AND %s",
                True,
            )
    until(lambda: servers_answer(platform, queue), timeout=RESTART_SECONDS)

    assert_recovers(platform, tenant, event_id, new_purchase, until)
