"""Signals, an index stage and rebuilds for the tests here, which can import the module `indexing`."""

import io
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from elasticsearch import Elasticsearch
from psycopg_pool import ConnectionPool
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))

from indexing import NOVEMBER, SignalStore

from common.metrics import Metrics
from common.search import template
from common.search.client import open_client
from common.settings import Settings
from infrastructure.search import rebuilds
from infrastructure.search import reindex as reindex_module
from infrastructure.search.rebuilds import plan_rebuilds
from infrastructure.search.reindex import Reindexer
from infrastructure.search.reindex_progress import LineProgress
from worker.index import IndexStage

LAG_SECONDS = 2.0


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(database_url: str) -> Iterator[SignalStore]:
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
def make_stage(pool: ConnectionPool, client: Elasticsearch, metrics: Metrics) -> Callable[..., IndexStage]:
    """Makes a stage of its own, for which every batch of `NOVEMBER` is two seconds old."""

    def make(client: Elasticsearch = client, **changes: Any) -> IndexStage:
        urls = dict.fromkeys(["database_url", "redis_url", "elasticsearch_url"], "unused:")
        settings = Settings.model_validate(urls | changes)
        return IndexStage(pool, client, metrics, settings, lambda: NOVEMBER + timedelta(seconds=LAG_SECONDS))

    return make


@pytest.fixture
def stage(make_stage: Callable[..., IndexStage]) -> IndexStage:
    return make_stage()


@pytest.fixture
def lines() -> io.StringIO:
    """What the rebuild says."""
    return io.StringIO()


@pytest.fixture
def make_reindexer(
    connection: psycopg.Connection, client: Elasticsearch, lines: io.StringIO
) -> Callable[..., Reindexer]:
    def make(**options: Any) -> Reindexer:
        progress = LineProgress(Console(file=lines, width=200), quiet=False)
        return Reindexer(
            options.pop("connection", connection),
            options.pop("client", client),
            progress,
            **{"page_signals": 4, "grace_seconds": 0.0, **options},
        )

    return make


@pytest.fixture
def reindex(connection: psycopg.Connection, make_reindexer: Callable[..., Reindexer]) -> Callable[..., int]:
    """Rebuild what there is to rebuild; returns how many documents were copied."""

    def run(*months: date, **options: Any) -> int:
        return make_reindexer(**options).run(plan_rebuilds(connection, months))

    return run


class StopError(Exception):
    """Ends a rebuild."""


class StopAfter(LineProgress):
    """Ends the rebuild once so many documents are copied."""

    def __init__(self, documents: int) -> None:
        super().__init__(Console(file=io.StringIO()), quiet=True)
        self._left = documents

    def advance(self, documents: int) -> None:
        self._left -= documents
        if self._left <= 0:
            raise StopError


@pytest.fixture
def interrupt(connection: psycopg.Connection, client: Elasticsearch) -> Callable[..., None]:
    """Begin a rebuild and end it once so many documents are copied."""

    def begin(documents: int, *months: date) -> None:
        reindexer = Reindexer(connection, client, StopAfter(documents), page_signals=4, grace_seconds=0)
        with pytest.raises(StopError):
            reindexer.run(plan_rebuilds(connection, months))

    return begin


@pytest.fixture
def raised_template(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Release a newer template, which maps one field in another way."""

    def release() -> None:
        newer = template.TEMPLATE_VERSION + 1
        for module in (template, rebuilds, reindex_module):
            monkeypatch.setattr(module, "TEMPLATE_VERSION", newer)
        properties = {**template._MAPPINGS["properties"], "text": {"type": "keyword"}}
        monkeypatch.setitem(template._MAPPINGS, "properties", properties)

    return release
