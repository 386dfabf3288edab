"""What becomes of a push that fails, without Redis."""

import asyncio
import gc
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from api.ingest.admission import Admission
from api.ingest.publisher import Publisher, _Parcel
from common.errors import QueueUnavailableError
from common.metrics import Metrics
from common.queue.streams import Record
from common.wakeup import Waker

RECORDS = [Record("e1", datetime(2026, 11, 21, 12, tzinfo=UTC), b"{}")]


class SurpriseError(Exception):
    """What no push is expected to end with."""


class Pipeline:
    """Takes any command; as redis-py does, it makes a cycle of its error and the frame that raises it."""

    def __init__(self, failures: list[Exception]) -> None:
        self._failures = failures

    def __getattr__(self, command: str) -> Any:
        return lambda *_arguments, **_options: self

    async def execute(self) -> list[Any]:
        if not self._failures:
            return [b"1-0", 1, None, 1, 1]
        errors = [self._failures.pop()]
        raise errors[0]


class Client:
    """Redis, as far as a publisher knows it; each push takes one of `failures`, if there is any left."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    def pipeline(self, *, transaction: bool) -> Pipeline:
        assert transaction
        return Pipeline(self.failures)


class Unlimited:
    """An admission that admits all."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments, **_options: None


async def publish(client: Client, times: int) -> list[str]:
    """The names of what `times` requests at once were answered with."""
    publisher = Publisher(
        cast("Any", client),
        cast("Waker", None),
        Metrics(),
        cast("Admission", Unlimited()),
        liveness_seconds=5,
    )
    await publisher.start()

    async def request() -> str:
        try:
            await publisher.publish(7, RECORDS)
        except (QueueUnavailableError, SurpriseError) as error:
            return type(error).__name__
        return "durable"

    answers = await asyncio.gather(*(request() for _ in range(times)))
    answers.append(await request())
    await publisher.stop()
    return answers


@pytest.mark.parametrize("failure", [ConnectionError, SurpriseError])
def test_all_requests_of_a_push_hear_of_its_failure_and_the_next_one_goes_on(
    failure: type[Exception],
) -> None:
    name = QueueUnavailableError.__name__ if failure is ConnectionError else failure.__name__

    assert asyncio.run(publish(Client(failure()), 3)) == [name, name, name, "durable"]


def test_where_a_push_crashed_is_logged_once() -> None:
    with capture_logs() as lines:
        asyncio.run(publish(Client(SurpriseError()), 3))

    crashes = [line for line in lines if line["event"] == "push_crashed"]
    assert len(crashes) == 1
    assert crashes[0]["exc_info"]


def test_nothing_stays_of_requests_whose_push_failed() -> None:
    gc.collect()
    gc.disable()
    try:
        asyncio.run(publish(Client(SurpriseError(), ConnectionError()), 1))
        kinds = (_Parcel, SurpriseError, ConnectionError, QueueUnavailableError)
        left = [thing for thing in gc.get_objects() if issubclass(type(thing), kinds)]
    finally:
        gc.enable()

    assert not left
