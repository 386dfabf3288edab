"""A platform with events, and a folder for its backups; the tests here can import the modules beside this one."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from movable_clock import MovableClock

sys.path.insert(0, str(Path(__file__).parents[1] / "people"))
sys.path.insert(0, str(Path(__file__).parent))

from backing_up import Site
from people import NOON, TENANT, People

from common.search.client import open_client


@pytest.fixture
def site(
    environment: dict[str, str],
    pipeline: Any,
    api_store: Any,
    api_serving: Any,
    postgres_server: str,
    tmp_path: Path,
) -> Iterator[Site]:
    clock = MovableClock(NOON)
    client = open_client(environment["ELASTICSEARCH_URL"])
    key = api_store.key(TENANT, "tenant_admin")
    with client as search, api_serving(environment, key, clock=clock) as api:
        made = Site(People(pipeline, api, clock, search), environment, postgres_server, tmp_path / "backups")
        yield made
        made.clean_up()
