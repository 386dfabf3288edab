"""Answers that are the same for all who ask: found once for those who come together, and kept for a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class SharedAnswer(Generic[Answer]):
    """What `find` finds, one call at a time, however many ask.

    Args:
        find: finds the answer; what it raises goes to those who wait for it, and is not kept.
        seconds: for how long an answer is given to those who come later.
    """

    def __init__(self, find: Callable[[], Awaitable[Answer]], *, seconds: float) -> None:
        self._find = find
        self._seconds = seconds
        self._task: asyncio.Task[Answer] | None = None
        self._fresh_until = 0.0  # by the event loop's clock

    async def get(self) -> Answer:
        """The answer that is there or on its way, else a new one."""
        loop = asyncio.get_running_loop()
        if self._task is None or (self._task.done() and loop.time() >= self._fresh_until):
            self._task = loop.create_task(self._find_and_keep())
        # Who asked first and goes away takes nothing along that others wait for.
        return await asyncio.shield(self._task)

    async def _find_and_keep(self) -> Answer:
        answer = await self._find()
        self._fresh_until = asyncio.get_running_loop().time() + self._seconds
        return answer
