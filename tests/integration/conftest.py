"""The API in a thread of the test's process, with rows for it to read, and the ingest stage with its queue.

The tests here and below can import the modules beside this one.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from psycopg_pool import ConnectionPool
from redis import Redis

sys.path.insert(0, str(Path(__file__).parent))

from api_store import ApiStore
from ingest_pipeline import IngestPipeline

from api.app import create_app
from common.database.connections import open_pool
from common.redis import open_redis
from common.settings import Settings


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """To this test's database, in autocommit mode."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    """Of this test's Redis; where tests are about search, of that."""
    with open_redis(redis_url) as client:
        yield client


@pytest.fixture
def pool(database_url: str) -> Iterator[ConnectionPool]:
    """Connections to this test's database, as workers have them."""
    with open_pool(database_url, application="test") as pool:
        yield pool


@pytest.fixture
def api_store(database_url: str) -> Iterator[ApiStore]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield ApiStore(connection)


@pytest.fixture
def api_serving(logins: Callable[[str, str], str]) -> Callable[..., AbstractContextManager[httpx.Client]]:
    """Starts an API for given server URLs and a key that is sent unless a request says otherwise.

    It connects to the tests' PostgreSQL as the API's role.
    """

    @contextmanager
    def serve(environment: dict[str, str], key: str | None = None, **options: Any) -> Iterator[httpx.Client]:
        database = {"DATABASE_URL": logins(environment["DATABASE_URL"], "sspp_api")}
        app = create_app(Settings.model_validate(environment | database), **options)
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_config=None, access_log=False, proxy_headers=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, name="api")
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the API did not start"
                time.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            headers = {"Authorization": f"Bearer {key}"} if key else None
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()

    return serve


@pytest.fixture
def api_tenant(api_store: ApiStore) -> int:
    return api_store.tenant("acme")


@pytest.fixture
def api(
    environment: dict[str, str], api_store: ApiStore, api_tenant: int, api_serving: Any
) -> Iterator[httpx.Client]:
    """A client of the API whose key may read and send for `api_tenant`."""
    with api_serving(environment, api_store.key(api_tenant, "read", "ingest")) as client:
        yield client


@pytest.fixture
def pipeline(environment: dict[str, str]) -> Iterator[IngestPipeline]:
    client = open_redis(environment["REDIS_URL"])
    with open_pool(environment["DATABASE_URL"], application="test") as pool:
        with pool.connection() as connection:
            connection.execute(
                "INSERT INTO tenants (tenant_id, slug, name) VALUES (7, 'seven', 'Seven'), (8, 'eight', 'Eight')"
            )
        yield IngestPipeline(client, pool)
    client.close()
