"""The faults. A new one is a function in one of the modules here and a line in its table."""

from collections.abc import Collection, Iterator
from random import Random

from harness.faults import processes, stores, work
from harness.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (*processes.FAULTS, *work.FAULTS, *stores.FAULTS)


def draw(seed: int, only: Collection[str] = ()) -> Iterator[tuple[Fault, Random]]:
    """Faults without end, each with the dice for its parameters; the same for the same seed and selection.

    They come in rounds: in each, every family has its turn once, in random order, with one of its kinds. So a
    dozen faults show something of everything, and hundreds show everything.

    Args:
        seed: of the random sequence.
        only: names of the kinds to draw from; all if empty.
    """
    chosen = [fault for fault in FAULTS if not only or fault.name in only]
    families = sorted({fault.family for fault in chosen})
    dice = Random(seed)
    number = 0
    while True:
        dice.shuffle(families)
        for family in families:
            kinds = [fault for fault in chosen if fault.family == family]
            (fault,) = dice.choices(kinds, [fault.weight for fault in kinds])
            yield fault, Random(f"{seed}/{number}")
            number += 1
