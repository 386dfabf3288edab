"""The table of event families, each one function that draws one input; a new family is one more function."""

from collections.abc import Callable

from fuzzing.draft import Input, Source

Family = Callable[[Source], Input]

EVENT_FAMILIES: dict[str, Family] = {}
"""Every family by its name."""

BULKY: set[str] = set()
"""Families whose inputs are so large that they are drawn seldom."""


def family(draw: Family) -> Family:
    """Enter a family into the table under its function's name."""
    EVENT_FAMILIES[draw.__name__] = draw
    return draw


def bulky_family(draw: Family) -> Family:
    """Enter a family that is to be drawn seldom."""
    BULKY.add(draw.__name__)
    return family(draw)
