"""While one batch is stored the next is prepared, and nothing is lost or held back by it."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from ingest_pipeline import IngestPipeline as Pipeline
from ingesting import LANE, drain, purchase, purchases
from patience import PATIENCE_SECONDS

from common.errors import DatabaseUnavailableError, QueueUnavailableError
from common.queue.lane_consumer import GROUP
from common.queue.streams import depth
from common.settings import load_settings
from worker.ingest import stage as ingest
from worker.ingest.stage import IngestStage
from worker.store.batch import Store

BATCH = 4


class Watched(Store):
    """Tells `while_storing` of each batch before it is stored."""

    while_storing: Callable[[], None]

    def write(self, candidates: Any, refused: Any) -> Any:
        self.while_storing()
        return super().write(candidates, refused)


@pytest.fixture
def full_batches(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Iterator[None]:
    monkeypatch.setenv("SSPP_BATCH_EVENTS", str(BATCH))
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


@pytest.fixture
def watched(full_batches: None, pipeline: Pipeline) -> Watched:
    return Watched(pipeline.pool)


@pytest.fixture
def stage(pipeline: Pipeline, watched: Watched) -> Iterator[IngestStage]:
    """A stage that has more waiting for it than it takes at a time."""
    for each in purchases(6 * BATCH):
        pipeline.push(each)
    stage = pipeline.stage(store=watched)
    watched.while_storing = lambda: None
    while not stage._prepared:  # entries hold one event: it takes some reads until batches are full
        stage.step(0)
    yield stage
    stage.close()


def test_the_next_batch_is_prepared_while_one_is_stored(stage: IngestStage, watched: Watched) -> None:
    prepared = threading.Event()
    prepare_next = stage._prepare_next

    def prepare_and_tell(wait_seconds: float) -> None:
        prepare_next(wait_seconds)
        prepared.set()

    stage._prepare_next = prepare_and_tell  # type: ignore[method-assign]
    met: list[bool] = []
    watched.while_storing = lambda: met.append(prepared.wait(PATIENCE_SECONDS))

    stage.step(0)

    assert met == [True]


def test_what_is_logged_meanwhile_names_the_worker_too(
    stage: IngestStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound: list[tuple[str, Any]] = []
    prepare = ingest.prepare

    def prepare_and_tell(*arguments: Any, **options: Any) -> Any:
        speaker = structlog.contextvars.get_contextvars().get("worker")
        bound.append((threading.current_thread().name.partition("_")[0], speaker))
        return prepare(*arguments, **options)

    monkeypatch.setattr(ingest, "prepare", prepare_and_tell)
    with structlog.contextvars.bound_contextvars(worker="w1"):
        stage.step(0)

    assert bound == [("prepare", "w1")]


def test_everything_is_stored_once(stage: IngestStage, pipeline: Pipeline) -> None:
    drain(stage)

    assert pipeline.value("SELECT count(*) FROM events") == 6 * BATCH
    assert pipeline.value("SELECT signal_count FROM customers") == 6 * BATCH
    assert depth(pipeline.redis) == {}


def test_a_batch_that_could_not_be_stored_and_the_one_prepared_meanwhile_are_kept(
    stage: IngestStage, watched: Watched, pipeline: Pipeline
) -> None:
    def away() -> None:
        watched.while_storing = lambda: None
        raise DatabaseUnavailableError

    watched.while_storing = away
    with pytest.raises(DatabaseUnavailableError):
        stage.step(0)
    drain(stage)

    assert pipeline.value("SELECT count(*) FROM events") == 6 * BATCH
    assert depth(pipeline.redis) == {}


def test_when_reading_ahead_fails_the_batch_in_work_is_stored_and_the_rest_read_again(
    stage: IngestStage, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = stage._consumer.read
    calls = iter([True])

    def read_once_in_vain(*arguments: Any, **options: Any) -> Any:
        found = read(*arguments, **options)
        if next(calls, False):
            stage._consumer.reply_was_lost = True  # as if the connection had broken on the way back
            raise QueueUnavailableError
        return found

    monkeypatch.setattr(stage._consumer, "read", read_once_in_vain)
    drain(stage)

    assert pipeline.value("SELECT count(*) FROM events") == 6 * BATCH
    assert pipeline.value("SELECT count(*) FROM event_keys") == 6 * BATCH
    assert depth(pipeline.redis) == {}


def test_a_rescue_gets_its_turn_although_more_is_always_waiting(
    stage: IngestStage, pipeline: Pipeline
) -> None:
    steps = 0
    while stage.rescue({"drain-1"}) is None:
        pipeline.push(*(purchase(f"more{steps}-{number}") for number in range(BATCH)))
        stage.step(0)
        steps += 1
        assert steps < 10

    assert not stage._held


def test_a_drain_whose_time_is_over_stores_what_it_has_taken(stage: IngestStage, pipeline: Pipeline) -> None:
    assert stage._prepared

    assert stage.finish() > 0

    stage.close()
    assert pipeline.redis.xpending_range(LANE, GROUP, "-", "+", 10) == []
    assert depth(pipeline.redis) != {}
