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

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def indexed(own_platform: Any, new_purchase: New, until: Until) -> Iterator[Callable[[int], Any]]:
    """Sends so many events of a new tenant, and returns it once the platform says that they are indexed."""
    clients = ExitStack()

    def index(count: int) -> Any:
        tenant = own_platform.new_tenant()
        clients.enter_context(tenant.api)
        ids = [str(uuid4()) for _ in range(count)]
        tenant.api.post("/v1/events", json=[new_purchase(each) for each in ids]).raise_for_status()

        def all_indexed() -> bool:
            ((pending,),) = own_platform.sql(
                "SELECT count(*) FROM outbox WHERE tenant_id = %s AND indexed_at IS NULL", tenant.tenant_id
            )
            return bool(pending == 0 and own_platform.stored(tenant)["signals"] == count)

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
    own_platform: Any, indexed: Callable[[int], Any], until: Until
) -> None:
    tenant = indexed(300)
    own_platform.signal("search", signal.SIGKILL)

    def noticed() -> bool:
        logs = own_platform.folder.glob("logs/*index*.log")
        return any("index_lost_writes" in log.read_text() for log in logs)

    def all_there() -> bool:
        code, _ = verify(own_platform)
        return code == 0 and findable(own_platform, tenant) == 300

    until(noticed, timeout=DEADLINE_SECONDS)
    until(all_there, timeout=DEADLINE_SECONDS)


def test_verify_names_a_document_that_is_gone_and_repairs_it(
    own_platform: Any, indexed: Callable[[int], Any]
) -> None:
    tenant = indexed(3)
    ((signal_id,),) = own_platform.sql(
        "SELECT signal_id::text FROM signals WHERE tenant_id = %s LIMIT 1", tenant.tenant_id
    )
    ids = {"ids": {"values": [signal_id]}}
    own_platform.search("/signals/_refresh")
    own_platform.search("/signals/_delete_by_query?refresh=true", query=ids)

    code, records = verify(own_platform)
    missing = [each for each in records if each["record"] == "difference"]
    assert code == 1
    assert [(each["kind"], each["signal_id"], each["tenant_id"]) for each in missing] == [
        ("missing", signal_id, tenant.tenant_id)
    ]

    assert verify(own_platform, "--repair")[0] == 0
    assert verify(own_platform)[0] == 0
    assert findable(own_platform, tenant) == 3
