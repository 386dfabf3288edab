"""Work beside the requests goes on whatever happens to one of its calls."""

import asyncio

import pytest

from api.periodic import Periodic


def test_an_error_is_logged_and_the_work_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        calls, went_on = 0, asyncio.Event()

        async def work() -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RuntimeError("what nobody expected")
            went_on.set()

        periodic = Periodic(work, seconds=0.001, name="sums")
        periodic.start()
        await asyncio.wait_for(went_on.wait(), 30)
        await periodic.stop()

    asyncio.run(run())

    output = capsys.readouterr().out
    assert "periodic_work_failed" in output
    assert "sums" in output
    assert "what nobody expected" in output
