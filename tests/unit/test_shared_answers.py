"""What anybody may ask for is found once, however many ask."""

import asyncio

import pytest

from api.health.shared_answers import SharedAnswer


class Finder:
    """Counts how often it is asked, and answers once it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def find(self) -> int:
        self.asked += 1
        self.was_asked.set()
        await self.may_answer.wait()
        return self.asked


def test_those_who_come_while_it_is_found_share_it_although_the_first_one_goes_away() -> None:
    async def run() -> None:
        finder = Finder()
        shared = SharedAnswer(finder.find, seconds=0)
        first, *others = [asyncio.create_task(shared.get()) for _ in range(5)]
        await finder.was_asked.wait()
        first.cancel()
        finder.may_answer.set()

        assert await asyncio.gather(*others) == [1, 1, 1, 1]
        assert await shared.get() == 2

    asyncio.run(run())


def test_those_who_come_later_get_it_for_as_long_as_it_is_kept() -> None:
    async def run() -> None:
        finder = Finder()
        finder.may_answer.set()
        shared = SharedAnswer(finder.find, seconds=3600)

        assert [await shared.get() for _ in range(3)] == [1, 1, 1]

    asyncio.run(run())


def test_an_error_is_not_kept() -> None:
    async def run() -> None:
        outcomes = iter([ValueError("away"), None])

        async def find() -> str:
            if error := next(outcomes):
                raise error
            return "there"

        shared = SharedAnswer(find, seconds=3600)
        with pytest.raises(ValueError, match="away"):
            await shared.get()
        assert await shared.get() == "there"

    asyncio.run(run())
