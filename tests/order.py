"""In which order tests run: at the end of a run none of the long ones should be left, to be waited for alone."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def dealt(long: Sequence[Sequence[T]], others: Sequence[T], workers: int) -> list[T]:
    """Tests in an order in which each of xdist's workers begins with its share of the long ones.

    ``--dist worksteal`` gives each worker an equal part of the list, in order, and who is done takes from the ends of
    the others' parts.

    Args:
        long: the long tests; those of one group stay together.
        others: all other tests, which stay in their order.
        workers: how many there are.
    """
    shares: list[list[T]] = [[] for _ in range(workers)]
    for number, group in enumerate(long):
        shares[number % workers] += group
    rest = list(others)
    order: list[T] = []
    for number, share in enumerate(shares):
        left = len(rest) + sum(map(len, shares[number:]))
        room = max(0, left // (workers - number) - len(share))
        order += share + rest[:room]
        del rest[:room]
    return order
