"""A guard and an API for the tests here, which can import the module `withholding`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.queue.withheld import WithheldEvents

sys.path.insert(0, str(Path(__file__).parent))

from withholding import SEVEN, Pipeline, bad, new_guard


@pytest.fixture
def guarded(pipeline: Pipeline) -> None:
    """Workers withhold a tenant's refusals once they are more than `GRACE`, and more than half of its events."""
    new_guard(pipeline)


@pytest.fixture
def withheld(pipeline: Pipeline) -> WithheldEvents:
    return WithheldEvents(pipeline.redis)


@pytest.fixture
def twenty_withheld(pipeline: Pipeline, guarded: None) -> None:
    """Tenant seven has sent twenty events that would be refused, and nothing else: they are withheld."""
    pipeline.push(*bad(20))
    pipeline.drain()


@pytest.fixture
def seven(environment: dict[str, str], pipeline: Pipeline, api_store: Any, api_serving: Any) -> Iterator[Any]:
    """The API with an admin key of tenant seven."""
    with api_serving(environment, api_store.key(SEVEN, "admin")) as client:
        yield client
