"""A Redis for the tests here, and drains on it; they can import the modules `lanes` and `probing`."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

sys.path.insert(0, str(Path(__file__).parent))

from probing import ProbeStage

from common.drain import Drain
from common.metrics import Metrics
from common.redis import open_redis
from common.settings import Settings, load_settings
from common.wakeup import Waker


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with open_redis(redis_url) as client:
        yield client


@pytest.fixture
def waker(client: Redis) -> Waker:
    return Waker(client, liveness_seconds=30)


@pytest.fixture
def drain(client: Redis, waker: Waker, environment: dict[str, str]) -> Callable[..., Drain]:
    """Makes a drain of a stage, with settings that differ from those of the environment."""

    def build(
        stage: ProbeStage,
        *,
        stop: Callable[[], bool] = lambda: False,
        metrics: Metrics | None = None,
        **settings: Any,
    ) -> Drain:
        chosen = load_settings().model_dump() | {"drain_linger_seconds": 0.05} | settings
        return Drain(
            stage,
            name="me",
            client=client,
            waker=waker,
            metrics=metrics or Metrics(),
            settings=Settings.model_validate(chosen),
            stop=stop,
        )

    return build
