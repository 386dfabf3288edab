"""The platform, as the tests of people's data work with it; they can import the module `people`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from movable_clock import MovableClock

sys.path.insert(0, str(Path(__file__).parent))

from people import NOON, TENANT, People

from common.search.client import open_client


@pytest.fixture
def people(environment: dict[str, str], pipeline: Any, api_store: Any, api_serving: Any) -> Iterator[People]:
    clock = MovableClock(NOON)
    key = api_store.key(TENANT, "tenant_admin")
    with (
        open_client(environment["ELASTICSEARCH_URL"]) as search,
        api_serving(environment, key, clock=clock) as api,
    ):
        yield People(pipeline, api, clock, search)
