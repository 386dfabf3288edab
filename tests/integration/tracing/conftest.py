"""A platform that traces into memory, for the tests here, which can import the modules beside this one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_store import ApiStore
from ingest_pipeline import IngestPipeline

sys.path.insert(0, str(Path(__file__).parent))

from traced import Spans, TracedPlatform

from common.clock import system_clock
from common.database.connections import open_pool
from common.search.client import open_client


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def platforms(
    environment: dict[str, str],
    pipeline: IngestPipeline,
    api_store: ApiStore,
    api_serving: Any,
    spans: Spans,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., AbstractContextManager[TracedPlatform]]:
    """Starts a platform that traces, with `variables` in its environment."""

    @contextmanager
    def start(**variables: str) -> Iterator[TracedPlatform]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        tracing = spans.tracing("sspp-worker")
        with (
            open_pool(
                environment["DATABASE_URL"], application="test", connection_class=tracing.connection_class
            ) as pool,
            open_client(environment["ELASTICSEARCH_URL"], client_class=tracing.search_class) as search,
            api_serving(environment, api_store.key(7, "admin"), tracing=spans.tracing("sspp-api")) as api,
        ):
            services = replace(
                pipeline.services(), pool=pool, search=search, tracing=tracing, clock=system_clock
            )
            yield TracedPlatform(api, pipeline, services, spans)

    return start


@pytest.fixture
def platform(platforms: Any) -> Iterator[TracedPlatform]:
    with platforms() as platform:
        yield platform
