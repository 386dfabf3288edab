"""Work that an API process does from time to time, beside its requests."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

_PATIENCE_SECONDS = 5.0
log = structlog.get_logger(__name__)


class Periodic:
    """Calls `work` every `seconds`, by a task of its own, from `start` until `stop`.

    Args:
        work: what to do; an error that it raises is logged, and it is called again all the same.
        seconds: from the end of one call to the beginning of the next.
        name: the task's, for people who look at tasks, and for the log.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], *, seconds: float, name: str) -> None:
        self._work = work
        self._seconds = seconds
        self._name = name
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first call comes after the first pause."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Let the call that is under way end, within some seconds, and make no more.

        It is not cancelled at once: a driver that is interrupted amid an exchange with its server may never return.
        """
        self._stopping.set()
        if self._task is None:
            return
        _, late = await asyncio.wait({self._task}, timeout=_PATIENCE_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_PATIENCE_SECONDS)

    async def _run(self) -> None:
        while not await self._is_stopped_meanwhile():
            try:
                await self._work()
            except Exception:
                log.exception("periodic_work_failed", work=self._name)

    async def _is_stopped_meanwhile(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                await self._stopping.wait()
        return self._stopping.is_set()
