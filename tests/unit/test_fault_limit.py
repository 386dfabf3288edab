import pytest

from worker.isolation import FaultLimit, RefusalsWithheldError


def test_a_few_faults_are_admitted_even_where_nothing_else_comes() -> None:
    limit = FaultLimit()
    for _ in range(100):
        limit.admit(1, 1)
    with pytest.raises(RefusalsWithheldError):
        limit.admit(1, 1)


def test_faults_among_healthy_traffic_are_admitted_for_ever() -> None:
    limit = FaultLimit()
    for _ in range(1000):
        limit.admit(20, 100)


def test_what_was_withheld_does_not_count_against_what_follows() -> None:
    limit = FaultLimit()
    for _ in range(10):
        with pytest.raises(RefusalsWithheldError):
            limit.admit(500, 500)
    limit.admit(0, 500)
    limit.admit(50, 500)


def test_batches_without_faults_always_pass() -> None:
    limit = FaultLimit()
    limit.admit(100, 100)
    limit.admit(0, 1)
