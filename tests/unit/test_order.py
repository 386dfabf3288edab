from itertools import chain

import pytest
from order import dealt

GROUPS = [["a1", "a2"], ["b1"], ["c1", "c2", "c3"], ["d1"], ["e1"]]
OTHERS = [f"o{number}" for number in range(37)]


def parts(order: list[str], workers: int) -> list[list[str]]:
    """As xdist's `WorkStealingScheduling` distributes them at first."""
    left, made = list(order), []
    for number in range(workers):
        size = len(left) // (workers - number)
        made.append(left[:size])
        del left[:size]
    return made


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 6])
def test_each_worker_begins_with_its_share_of_the_long_tests(workers: int) -> None:
    order = dealt(GROUPS, OTHERS, workers)

    assert sorted(order) == sorted([*chain(*GROUPS), *OTHERS])
    for number, part in enumerate(parts(order, workers)):
        share = list(chain(*GROUPS[number::workers]))
        assert part[: len(share)] == share


def test_others_stay_in_their_order() -> None:
    assert [each for each in dealt(GROUPS, OTHERS, 4) if each in OTHERS] == OTHERS


def test_long_tests_alone_are_all_there() -> None:
    assert sorted(dealt(GROUPS, [], 3)) == sorted(chain(*GROUPS))
