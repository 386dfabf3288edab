import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from infrastructure.loading.errors import ApiRefusalError, LoadError
from infrastructure.loading.loader import Loader
from infrastructure.loading.readers import BadRow, Event
from infrastructure.loading.report import Outcome, Rejection, Report


class FakeSender:
    """Takes what it is given; refuses rows whose body says so."""

    def __init__(self, limit_bytes: int = 1_000_000) -> None:
        self.limit_bytes = limit_bytes
        self.batches: list[int] = []
        self.lock = threading.Lock()
        self.missing: set[str | None] = set()

    def send(self, events: Sequence[Event]) -> Outcome:
        with self.lock:
            self.batches.append(len(events))
        if any(event.body == b"stop" for event in events):
            raise ApiRefusalError("no more")
        bad = tuple(Rejection(event.row, "bad", "is bad") for event in events if event.body == b"bad")
        return Outcome(len(events) - len(bad), bad, events[-1].event_id)

    def is_stored(self, event_id: str) -> bool:
        return event_id not in self.missing


class Silent:
    done = 0

    def advance(self, *, events: int, position: int) -> None:
        self.done += events

    def say(self, message: str) -> None:
        pass


def event(row: int, body: bytes = b"{}") -> Event:
    return Event(row, f"x:{row}", body)


def loader(sender: Any, report: Report, progress: Silent | None = None, **options: Any) -> Loader:
    return Loader(
        sender,
        report,
        progress or Silent(),
        position=lambda: 0,
        stop=threading.Event(),
        batch_events=10,
        **options,
    )


def test_every_row_is_counted_once() -> None:
    sender, report = FakeSender(), Report(max_examples=2)
    rows: list[Event | BadRow] = [event(row, b"bad" if row % 5 == 0 else b"{}") for row in range(1, 96)]
    loader(sender, report).load([*rows, BadRow(96, "odd"), BadRow(97, "odd"), BadRow(98, "odd")])
    assert (report.read, report.accepted, report.rejected.total(), report.bad_rows) == (98, 76, 19, 3)
    assert report.unconfirmed == 0
    assert (len(report.rejected_examples), len(report.bad_row_examples)) == (2, 2)
    assert report.exit_code == 1
    assert sorted(sender.batches, reverse=True) == [10] * 9 + [5]


def test_batches_stay_below_the_senders_size() -> None:
    sender, report = FakeSender(limit_bytes=100), Report()
    loader(sender, report).load([event(1, b"x" * 60), event(2, b"x" * 60), event(3, b"x" * 300), event(4)])
    assert sender.batches == [1, 1, 1, 1]


def test_the_reader_is_never_far_ahead() -> None:
    sender, report, progress = FakeSender(), Report(), Silent()
    ahead: list[int] = []

    def rows() -> Iterator[Event]:
        for row in range(1, 501):
            ahead.append(row - progress.done)
            yield event(row)

    loader(sender, report, progress, concurrency=3).load(rows())
    assert report.accepted == 500
    assert max(ahead) <= (3 + 1) * 10 + 1


def test_a_refusal_ends_the_load_and_is_told() -> None:
    sender, report = FakeSender(), Report()
    loader(sender, report, concurrency=1).load(
        event(row, b"stop" if row == 15 else b"{}") for row in range(1, 1001)
    )
    assert (report.error, report.exit_code) == ("no more", 1)
    assert report.accepted == 10
    assert report.read < 100


def test_what_was_read_before_the_file_broke_is_sent() -> None:
    def rows() -> Iterator[Event]:
        yield from (event(row) for row in range(1, 16))
        raise LoadError("cut off")

    report = Report()
    loader(FakeSender(), report).load(rows())
    assert (report.accepted, report.error, report.exit_code) == (15, "cut off", 1)


def test_an_interruption_counts_what_is_in_flight() -> None:
    def rows() -> Iterator[Event]:
        yield from (event(row) for row in range(1, 26))
        raise KeyboardInterrupt

    report = Report()
    loader(FakeSender(), report).load(rows())
    assert (report.accepted, report.unconfirmed, report.exit_code) == (20, 5, 130)


@pytest.mark.parametrize("missing", [set(), {"x:20"}])
def test_waiting_looks_at_the_last_event_of_each_batch(missing: set[str | None]) -> None:
    sender, report = FakeSender(), Report()
    sender.missing = missing
    loading = loader(sender, report)
    loading.load(event(row) for row in range(1, 41))
    loading.wait_until_stored(timeout=0)
    assert report.stored is not missing
    assert report.stored is (not missing)
    assert report.exit_code == (1 if missing else 0)
