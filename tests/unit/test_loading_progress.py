import io

import pytest
from rich.console import Console

from infrastructure.loading.progress import BarProgress, LineProgress


def console() -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, force_terminal=True, width=200, color_system=None), screen


@pytest.mark.parametrize(("size", "shown"), [(1000, "50%"), (None, "500 events")])
def test_the_bar_shows_how_far_the_load_is(size: int | None, shown: str) -> None:
    target, screen = console()
    with BarProgress(target, size=size) as bar:
        bar.advance(events=300, position=500)
        bar.advance(events=200, position=300)
        bar.say("the API is [busy]")
    assert shown in screen.getvalue()
    assert "the API is [busy]" in screen.getvalue()


@pytest.mark.parametrize(("quiet", "lines"), [(False, ["once", "twice"]), (True, [])])
def test_without_a_bar_messages_are_lines_and_not_repeated(quiet: bool, lines: list[str]) -> None:
    target, screen = console()
    with LineProgress(target, quiet=quiet) as progress:
        for message in ("once", "once", "twice"):
            progress.say(message)
        progress.advance(events=1, position=1)
    assert screen.getvalue().splitlines() == lines
