import io

import pytest
from rich.console import Console

from infrastructure.search.reindex_progress import BarProgress, LineProgress


def test_for_a_log_there_is_a_line_when_enough_time_has_passed() -> None:
    out = io.StringIO()
    with LineProgress(Console(file=out, width=40), quiet=False, line_seconds=0) as always:
        always.start("signals-2026-11-g2", total=12_000, done=500)
        always.advance(500)
        always.say("the server is [busy]; a message may be longer than a line")
    with LineProgress(Console(file=out), quiet=False, line_seconds=3600) as seldom:
        seldom.start("signals-2026-12-g2", total=1, done=0)
        seldom.advance(1)

    assert out.getvalue().splitlines() == [
        "signals-2026-11-g2: 500 of 12,000 documents",
        "signals-2026-11-g2: 1,000 of 12,000 documents",
        "the server is [busy]; a message may be longer than a line",
        "signals-2026-12-g2: 0 of 1 documents",
    ]


def test_whoever_wants_quiet_gets_it() -> None:
    out = io.StringIO()
    with LineProgress(Console(file=out), quiet=True, line_seconds=0) as progress:
        progress.start("signals-2026-11-g2", total=1, done=0)
        progress.advance(1)
        progress.say("a message")

    assert out.getvalue() == ""


@pytest.mark.parametrize("color_system", [None, "standard"])
def test_at_a_terminal_there_is_a_bar_for_each_index_with_messages_above(color_system: None) -> None:
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=True, width=120, color_system=color_system, no_color=color_system is None
    )
    with BarProgress(console) as bar:
        bar.start("signals-2026-11-g2", total=4, done=1)
        bar.advance(1)
        bar.say("the server is [busy]")
        bar.start("signals-2026-12-g2", total=2, done=0)
        bar.advance(3)  # signals that came meanwhile are copied as well

    shown = out.getvalue()
    assert "signals-2026-11-g2" in shown
    assert "the server is [busy]" in shown
    assert "3/3" in shown
