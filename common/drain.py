"""The drain: how every stage of the platform works off its durable source.

A stage's work lies in a durable source, a stream or a table. An RQ job never carries work, it only says "there
is some": it runs a drain, which takes batch after batch until nothing is left, its time is used, or a stop is
asked for. So jobs may be lost or doubled without harm; `common.wakeup` keeps them rare.
"""

import gc
import random
import time
from collections.abc import Callable
from typing import Protocol
from uuid import uuid4

import structlog
from redis import Redis

from common.errors import SsppError, TransientError
from common.metrics import Metrics
from common.settings import Settings
from common.wakeup import Presence, Waker

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_SLICE_SECONDS = 0.5  # how long a stop may go unnoticed while waiting
_HOUSEKEEPING_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Stage(Protocol):
    """What a drain drains: a durable source and what to do with a batch of it."""

    queue: str
    """The RQ queue whose workers run this stage."""

    def step(self, wait_seconds: float) -> int:
        """Take one batch, process it and acknowledge it.

        Waits up to `wait_seconds` while there is nothing. Returns how many items it handled. May be cut off at
        any point, by SIGKILL too: what was not acknowledged is taken again, here or elsewhere, and processing
        the same items twice has the effect of once.

        Raises:
            TransientError: a store is away or busy. Nothing is lost; the drain pauses and calls again.
        """
        ...

    def rescue(self, live: set[str]) -> int | None:
        """Take over what drains that are not among `live` had taken.

        Returns how many items that were; None if its hands are full, and it wants to be asked after the next step.
        """
        ...

    def backlog(self) -> int:
        """About how many items wait, taken ones included; cheap enough to ask once a second."""
        ...

    def finish(self) -> int:
        """The drain's time is over: handle what is taken already, take no more, and return how many items it was.

        Raises:
            TransientError: as `step`.
        """
        ...

    def close(self) -> None:
        """The drain ends: give up what belongs to it alone."""
        ...


class Drain:
    """One run of a stage, from its wake-up to an idle source, the end of its time, or a stop.

    Args:
        stage: what to drain.
        name: unique to this run; a stage that takes items under a name uses the same one.
        client: Redis, for the marks.
        waker: to wake the next drain, or another beside this one.
        settings: how long one run may take (drain_budget_seconds; after that the rest is left to a fresh wake-up,
            so that RQ gets to its own upkeep between jobs), how long to wait for more once the source is empty
            (drain_linger_seconds; steady traffic keeps one drain running, which saves each event the price of
            an RQ job), and after how long a silence others take over (liveness_seconds).
        stop: asked between batches; True ends the run.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        name: str,
        client: Redis,
        waker: Waker,
        metrics: Metrics,
        settings: Settings,
        stop: Callable[[], bool],
    ) -> None:
        self._stage = stage
        self._waker = waker
        self._metrics = metrics
        self._budget = settings.drain_budget_seconds
        self._linger = settings.drain_linger_seconds
        # More than this one clears within a few batches: worth the start of another.
        self._busy_backlog = 2 * settings.batch_events
        self._stop = stop
        self._next_housekeeping = 0.0
        self._presence = Presence(client, stage.queue, name, liveness_seconds=settings.liveness_seconds)

    def run(self) -> int:
        """Drain; returns how many items were handled. Failures on the way are waited out, unforeseen ones too.

        Raises:
            QueueUnavailableError: Redis is away as the drain begins.
        """
        handled = 0
        self._metrics.count("sspp_drains_total", stage=self._stage.queue)
        with self._presence:
            try:
                handled = self._work()
                if not self._stop():
                    handled += self._finish()
            finally:
                self._close()
        self._hand_over()
        return handled

    def _work(self) -> int:
        started = time.monotonic()
        # Lingering is for what follows work: a drain that was woken for nothing ends at once.
        last_work = started - self._linger
        pause, handled = _FIRST_PAUSE_SECONDS, 0
        while not self._stop() and time.monotonic() - started < self._budget:
            count = self._attempt(last_work + self._linger - time.monotonic(), pause)
            if count is None:
                self._rest(pause)
                last_work, pause = time.monotonic(), min(pause * 2, _LONGEST_PAUSE_SECONDS)
                continue
            pause = _FIRST_PAUSE_SECONDS
            if count:
                handled += count
                last_work = time.monotonic()
            elif time.monotonic() - last_work >= self._linger:
                break
        return handled

    def _attempt(self, patience: float, pause: float) -> int | None:
        """Housekeeping if it is due, then one step; None if that failed, which is reported."""
        try:
            self._keep_house()
            return self._stage.step(min(max(patience, 0.0), _SLICE_SECONDS))
        except Exception as error:  # noqa: BLE001  # a bug, or a wrong setup: no reason to stop trying, or to spin
            self._report(error, pause)
        _forget_failure()
        return None

    def _keep_house(self) -> None:
        """Once a second: take over what others left, and wake another drain if there is too much for this one."""
        if time.monotonic() < self._next_housekeeping:
            return
        rescued = self._stage.rescue(self._presence.live())
        if rescued is not None:
            self._next_housekeeping = time.monotonic() + _HOUSEKEEPING_SECONDS
            self._call_for_help()
        if rescued:
            log.warning("work_taken_over", stage=self._stage.queue, items=rescued)

    def _finish(self) -> int:
        try:
            return self._stage.finish()
        except Exception as error:  # noqa: BLE001  # as in `_attempt`; what it still holds is taken over by the next drain
            self._report(error, 0)
        _forget_failure()
        return 0

    def _report(self, error: Exception, pause: float) -> None:
        stage = self._stage.queue
        if isinstance(error, TransientError):
            log.warning("batch_put_off", stage=stage, code=error.code, detail=error.detail, pause=pause)
        else:
            log.error("batch_put_off", stage=stage, code=SsppError.code, pause=pause, exc_info=error)
        code = error.code if isinstance(error, TransientError) else SsppError.code
        self._metrics.count("sspp_drain_errors_total", stage=stage, code=code)

    def _call_for_help(self) -> None:
        """Wake another drain when more waits than this one clears soon and a worker is free to run it."""
        if self._stage.backlog() <= self._busy_backlog:
            return
        busy = len(self._presence.live()) + self._presence.queued_jobs()
        if busy < self._presence.live_workers():
            self._waker.enqueue(self._stage.queue)

    def _rest(self, pause: float) -> None:
        # Full jitter: a fleet that failed together does not come back together.
        until = time.monotonic() + random.uniform(pause / 2, pause)  # noqa: S311
        while not self._stop() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))

    def _close(self) -> None:
        try:
            self._stage.close()
        except TransientError as error:
            log.warning("drain_closed_uncleanly", stage=self._stage.queue, detail=error.detail)
        else:
            return
        _forget_failure()

    def _hand_over(self) -> None:
        """Wake the next drain if work is left, be it that it came after this one had looked for the last time."""
        try:
            if self._stage.backlog() > 0:
                self._waker.wake(self._stage.queue)
        except TransientError as error:
            log.warning("hand_over_failed", stage=self._stage.queue, detail=error.detail)
        else:
            return
        _forget_failure()


def _forget_failure() -> None:
    """Free what a failed attempt held; call it when its error is gone.

    Errors of drivers are in cycles with the frames that they went through, and these hold requests and batches: in
    hours of outage, as many as there were attempts. By itself the collector comes too seldom (`common.interpreter`).
    """
    gc.collect()


def new_drain_name() -> str:
    """A name that no other drain has or had."""
    return uuid4().hex
