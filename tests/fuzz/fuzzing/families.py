"""Tables of families, each one function that draws one input; a new family is one more function."""

from collections.abc import Callable
from typing import Any, TypeVar

from fuzzing.draft import Input, Source

Draw = TypeVar("Draw", bound=Callable[..., Any])


class Families(dict[str, Draw]):
    """Every family by its name; `bulky` are those whose inputs are so large that they are drawn seldom."""

    def __init__(self) -> None:
        super().__init__()
        self.bulky: set[str] = set()

    def family(self, draw: Draw) -> Draw:
        """Enter a family under its function's name."""
        self[draw.__name__] = draw
        return draw

    def bulky_family(self, draw: Draw) -> Draw:
        """Enter a family that is to be drawn seldom."""
        self.bulky.add(draw.__name__)
        return self.family(draw)


EVENT_FAMILIES: Families[Callable[[Source], Input]] = Families()
family, bulky_family = EVENT_FAMILIES.family, EVENT_FAMILIES.bulky_family
