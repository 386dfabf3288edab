"""Signals, an index stage and rebuilds for the tests here, which can import the modules beside this one."""

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from elasticsearch import Elasticsearch
from psycopg_pool import ConnectionPool

sys.path.insert(0, str(Path(__file__).parent))

from indexing import NOVEMBER, AddIndexed, MakeStage, SignalStore, drain
from rebuilding import Rebuilds
from verifying import Verify, verify_with

from common.metrics import Metrics
from common.search import template
from common.search.client import open_client
from common.settings import Settings
from infrastructure.search import rebuilds as rebuilds_module
from infrastructure.search import reindex as reindex_module
from worker.index.stage import IndexStage

LAG_SECONDS = 2.0


@pytest.fixture
def store(database_url: str) -> Iterator[SignalStore]:
    # On a connection of its own, as what is tested may hold up the other one.
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield SignalStore(connection)


@pytest.fixture
def client(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with open_client(elasticsearch_url) as client:
        yield client


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def make_stage(pool: ConnectionPool, client: Elasticsearch, metrics: Metrics) -> MakeStage:
    """Makes a stage of its own, for which every batch of `NOVEMBER` is two seconds old."""

    def make(client: Elasticsearch = client, **changes: Any) -> IndexStage:
        urls = dict.fromkeys(["database_url", "redis_url", "elasticsearch_url"], "unused:")
        settings = Settings.model_validate(urls | changes)
        return IndexStage(pool, client, metrics, settings, lambda: NOVEMBER + timedelta(seconds=LAG_SECONDS))

    return make


@pytest.fixture
def stage(make_stage: MakeStage) -> IndexStage:
    return make_stage()


@pytest.fixture
def add_indexed(store: SignalStore, stage: IndexStage) -> AddIndexed:
    def add(*arguments: Any, **options: Any) -> list[str]:
        ids = store.add(*arguments, **options)
        drain(stage)
        return ids

    return add


@pytest.fixture
def rebuilds(connection: psycopg.Connection, client: Elasticsearch) -> Rebuilds:
    return Rebuilds(connection, client)


@pytest.fixture
def verify(database_url: str, elasticsearch_url: str, tmp_path: Path) -> Verify:
    servers = {"DATABASE_URL": database_url, "ELASTICSEARCH_URL": elasticsearch_url}
    return partial(verify_with, servers, tmp_path / "differences.ndjson")


@pytest.fixture
def raised_template(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Release a newer template, which maps one field in another way."""

    def release() -> None:
        newer = template.TEMPLATE_VERSION + 1
        for module in (template, rebuilds_module, reindex_module):
            monkeypatch.setattr(module, "TEMPLATE_VERSION", newer)
        properties = {**template._MAPPINGS["properties"], "text": {"type": "keyword"}}
        monkeypatch.setitem(template._MAPPINGS, "properties", properties)

    return release
