"""The queue behind the API, and APIs with other settings, for the tests here, which can import its helper modules."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_store import ApiStore
from ingest_pipeline import IngestPipeline
from redis import Redis

sys.path.insert(0, str(Path(__file__).parent))

from own_event_types import SEVEN
from victims import Victim, make_victim

from common.queue.streams import STREAMS, Entry, decode_entry
from worker.ingest.guard import GuardLimits, RefusalGuard


@pytest.fixture
def queued(client: Redis) -> Callable[[], list[Entry]]:
    """Reads all that lies in the lanes."""

    def read() -> list[Entry]:
        found: Any = [(lane, *entry) for lane in STREAMS for entry in client.xrange(lane)]
        return [decode_entry(lane, entry_id, fields) for lane, entry_id, fields in found]

    return read


@pytest.fixture
def seven(
    environment: dict[str, str], pipeline: IngestPipeline, api_store: ApiStore, api_serving: Any
) -> Iterator[httpx.Client]:
    """An API with a key of tenant seven's administrator, and a guard of its pipeline that lets all refusals pass."""
    pipeline.guard = RefusalGuard(GuardLimits(max_share=1))
    with api_serving(environment, api_store.key(SEVEN, "tenant_admin")) as client:
        yield client


@pytest.fixture
def serve(environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any) -> Any:
    """Starts an API with changed settings and a key that may do everything for `api_tenant`."""

    def serve(**changes: object) -> Any:
        return api_serving(environment | changes, api_store.key(api_tenant, "admin"))

    return serve


@pytest.fixture
def victim(environment: dict[str, str], api_store: ApiStore) -> Victim:
    """A tenant whose data others ask for."""
    return make_victim(environment, api_store)
