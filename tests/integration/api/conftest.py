"""The queue behind the API, and APIs with other settings, for the tests here, which can import its helper modules."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from common.queue.streams import STREAMS, Entry, decode_entry
from common.redis import open_redis

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with open_redis(redis_url) as client:
        yield client


@pytest.fixture
def queued(redis_url: str) -> Callable[[], list[Entry]]:
    """Reads all that lies in the lanes."""

    def read() -> list[Entry]:
        with open_redis(redis_url) as client:
            found: Any = [(lane, *entry) for lane in STREAMS for entry in client.xrange(lane)]
        return [decode_entry(lane, entry_id, fields) for lane, entry_id, fields in found]

    return read


@pytest.fixture
def serve(environment: dict[str, str], api_store: Any, api_tenant: int, api_serving: Any) -> Any:
    """Starts an API with changed settings and a key that may do everything for `api_tenant`."""

    def serve(**changes: object) -> Any:
        return api_serving(environment | changes, api_store.key(api_tenant, "admin"))

    return serve
