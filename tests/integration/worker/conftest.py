"""`rq worker` processes for the tests here, which can import the module `rq_workers`."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rq_workers import RqWorker


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., RqWorker]]:
    """Starts `rq worker` with the given arguments and changes of the environment; kills it after the test."""
    running: list[RqWorker] = []

    def start(*arguments: str, **changes: str) -> RqWorker:
        worker = RqWorker(arguments, environment | changes, tmp_path / f"worker-{len(running)}.log")
        running.append(worker)
        return worker

    yield start
    for worker in running:
        worker.kill()
        worker.wait()
