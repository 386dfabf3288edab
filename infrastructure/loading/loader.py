"""The load itself: batches from the reader, a few of them in flight, everything counted."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from infrastructure.loading.errors import LoadError
from infrastructure.loading.progress import Progress
from infrastructure.loading.readers import BadRow, Event
from infrastructure.loading.report import Outcome, Report
from infrastructure.loading.sender import Sender

_GRACE_SECONDS = 5.0
_WATCHED_IDS = 1000
_LONGEST_POLL = 2.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Events for one request, and how far into the file they reach."""

    events: list[Event]
    position: int


class Loader:
    """Loads one stream of events.

    Never more than `concurrency` batches are in flight and one more is read ahead, whatever the file's size.
    `position` tells how far the reader is.
    """

    def __init__(
        self,
        sender: Sender,
        report: Report,
        progress: Progress,
        *,
        position: Callable[[], int],
        stop: threading.Event,
        batch_events: int = 500,
        concurrency: int = 4,
    ) -> None:
        self._sender = sender
        self._report = report
        self._progress = progress
        self._position = position
        self._stop = stop
        self._batch_events = batch_events
        self._concurrency = concurrency
        self._in_flight = 0
        self._answers: SimpleQueue[tuple[Batch, Outcome | Exception]] = SimpleQueue()
        self._last_ids: deque[str] = deque(maxlen=_WATCHED_IDS)

    def load(self, rows: Iterable[Event | BadRow]) -> None:
        """Send all of `rows` and count what becomes of them.

        What ends the load early is noted in the report, not raised; requests in flight get some seconds to end.
        """
        started = time.monotonic()
        try:
            self._send_all(rows)
        except LoadError as error:
            self._report.error = error.detail
            self._settle()
        except KeyboardInterrupt:
            self._report.interrupted = True
            self._settle()
        finally:
            self._report.seconds = time.monotonic() - started

    def wait_until_stored(self, timeout: float) -> None:
        """Wait until the platform has stored what was accepted, seen by the last event of each batch.

        Whether it did within `timeout` seconds is noted in the report; of a very long load only the newest
        batches are looked at.
        """
        deadline = time.monotonic() + timeout
        pause = 0.1
        try:
            while self._last_ids:
                if self._sender.is_stored(self._last_ids[-1]):
                    self._last_ids.pop()
                    continue
                if time.monotonic() + pause > deadline:
                    break
                self._progress.say("waiting until the events are stored")
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_POLL)
            self._report.stored = not self._last_ids
        except LoadError as error:
            self._report.error = error.detail
        except KeyboardInterrupt:
            self._report.interrupted = True

    def _send_all(self, rows: Iterable[Event | BadRow]) -> None:
        for batch in self._batches(rows):
            while self._in_flight >= self._concurrency:
                self._take_answer()
            self._in_flight += 1
            # A daemon, so that a request that hangs cannot hold up the end of the program.
            threading.Thread(target=self._send, args=(batch,), daemon=True).start()
        while self._in_flight:
            self._take_answer()

    def _batches(self, rows: Iterable[Event | BadRow]) -> Iterator[Batch]:
        events: list[Event] = []
        size = 0
        for row in self._readable(rows):
            self._report.read += 1
            if isinstance(row, BadRow):
                self._report.add_bad_row(row)
                continue
            if events and size + len(row.body) > self._sender.limit_bytes:
                yield Batch(events, self._position())
                events, size = [], 0
            events.append(row)
            size += len(row.body) + 1
            if len(events) >= self._batch_events:
                yield Batch(events, self._position())
                events, size = [], 0
        if events:
            yield Batch(events, self._position())

    def _readable(self, rows: Iterable[Event | BadRow]) -> Iterator[Event | BadRow]:
        """The rows up to where the file can no longer be read: what came before that is sent all the same."""
        try:
            yield from rows
        except LoadError as error:
            self._report.error = error.detail

    def _send(self, batch: Batch) -> None:
        try:
            self._answers.put((batch, self._sender.send(batch.events)))
        except Exception as error:  # noqa: BLE001 - carried to the main thread, which raises it
            self._answers.put((batch, error))

    def _take_answer(self, timeout: float | None = None) -> None:
        batch, answer = self._answers.get(timeout=timeout)
        self._in_flight -= 1
        if isinstance(answer, Exception):
            raise answer
        self._report.add_outcome(answer)
        if answer.last_id is not None:
            self._last_ids.append(answer.last_id)
        self._progress.advance(events=len(batch.events), position=batch.position)

    def _settle(self) -> None:
        """Let the requests in flight end, for some seconds, so that their events are counted."""
        self._stop.set()
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._in_flight:
            try:
                self._take_answer(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return
            except LoadError:
                continue  # the first failure is the one that is told
