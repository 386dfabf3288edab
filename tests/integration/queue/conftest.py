"""Drains for the tests here, which can import the modules `lanes` and `probing`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

sys.path.insert(0, str(Path(__file__).parent))

from probing import ProbeStage

from common.drain import Drain
from common.metrics import Metrics
from common.settings import Settings, load_settings
from common.wakeup import Waker


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
