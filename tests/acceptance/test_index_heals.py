"""The search index gets back what it lost: by itself, or by ``sspp verify --repair``."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest

Until = Callable[..., Any]
New = Callable[..., dict[str, Any]]

DEADLINE_SECONDS = 90

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def indexed(disrupted_platform: Any, new_purchase: New, until: Until) -> Iterator[Callable[[int], Any]]:
    """Sends so many events of a new tenant, and returns it once the platform says that they are indexed."""
    clients = ExitStack()

    def index(count: int) -> Any:
        tenant = disrupted_platform.new_tenant()
        clients.enter_context(tenant.api)
        ids = [str(uuid4()) for _ in range(count)]
        tenant.api.post("/v1/events", json=[new_purchase(each) for each in ids]).raise_for_status()

        def all_indexed() -> bool:
            ((pending,),) = disrupted_platform.sql(
                "SELECT count(*) FROM outbox WHERE tenant_id = %s AND indexed_at IS NULL", tenant.tenant_id
            )
            return bool(pending == 0 and disrupted_platform.stored(tenant)["signals"] == count)

        until(all_indexed, timeout=DEADLINE_SECONDS)
        return tenant

    with clients:
        yield index


def findable(platform: Any, tenant: Any) -> int:
    body = {"query": {"term": {"tenant_id": tenant.tenant_id}}}
    return int(platform.search("/signals/_count", **body)["count"])


def verify(platform: Any, *options: str) -> tuple[int, list[dict[str, Any]]]:
    done: subprocess.CompletedProcess[str] = platform.sspp("verify", "--json", *options)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_killed_search_server_gets_back_what_it_forgot_without_a_command(
    disrupted_platform: Any, indexed: Callable[[int], Any], until: Until
) -> None:
    tenant = indexed(300)
    disrupted_platform.signal("search", signal.SIGKILL)

    def noticed() -> bool:
        logs = disrupted_platform.folder.glob("logs/*index*.log")
        return any("index_lost_writes" in log.read_text() for log in logs)

    def all_there() -> bool:
        code, _ = verify(disrupted_platform)
        return code == 0 and findable(disrupted_platform, tenant) == 300

    until(noticed, timeout=DEADLINE_SECONDS)
    until(all_there, timeout=DEADLINE_SECONDS)


def test_verify_names_a_document_that_is_gone_and_repairs_it(
    disrupted_platform: Any, indexed: Callable[[int], Any]
) -> None:
    tenant = indexed(3)
    ((signal_id,),) = disrupted_platform.sql(
        "SELECT signal_id::text FROM signals WHERE tenant_id = %s LIMIT 1", tenant.tenant_id
    )
    ids = {"ids": {"values": [signal_id]}}
    disrupted_platform.search("/signals/_refresh")
    disrupted_platform.search("/signals/_delete_by_query?refresh=true", query=ids)

    code, records = verify(disrupted_platform)
    missing = [each for each in records if each["record"] == "difference"]
    assert code == 1
    assert [(each["kind"], each["signal_id"], each["tenant_id"]) for each in missing] == [
        ("missing", signal_id, tenant.tenant_id)
    ]

    assert verify(disrupted_platform, "--repair")[0] == 0
    assert verify(disrupted_platform)[0] == 0
    assert findable(disrupted_platform, tenant) == 3
