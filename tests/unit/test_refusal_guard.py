"""The arithmetic of the dead-letter guard, with a clock that the tests move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from movable_clock import MovableClock

from worker.ingest.guard import FAULT_GRACE, GuardLimits, RefusalGuard, Tally

ONE, OTHER = 1, 2


def guard(clock: MovableClock[float], *, max_share: float = 0.5, grace: int = 1000) -> RefusalGuard:
    return RefusalGuard(GuardLimits(max_share, grace, window_seconds=600), clock)


def feed(guard: RefusalGuard, **tallies: tuple[int, int]) -> set[str]:
    """Count events and refusals of tenants ``t1``, ``t2``…; returns whose refusals were withheld."""
    batch = {int(name[1:]): Tally(events, refused) for name, (events, refused) in tallies.items()}
    withheld = guard.withholds(batch)
    guard.count(batch)
    return {f"t{tenant_id}" for tenant_id in withheld}


def test_refusals_up_to_the_grace_pass_even_where_nothing_else_comes(clock: MovableClock[float]) -> None:
    watched = guard(clock, grace=1000)

    assert [feed(watched, t1=(1, 1)) for _ in range(1000)] == [set()] * 1000
    assert feed(watched, t1=(1, 1)) == {"t1"}


def test_refusals_within_the_share_pass_for_ever(clock: MovableClock[float]) -> None:
    watched = guard(clock, max_share=0.5)

    assert [feed(watched, t1=(1000, 500)) for _ in range(100)] == [set()] * 100


def test_refusals_that_come_slowly_are_not_sudden(clock: MovableClock[float]) -> None:
    watched = guard(clock, grace=1000)

    for _ in range(200):
        clock.now += 60
        assert feed(watched, t1=(90, 90)) == set()


def test_once_tripped_it_stays_so_however_much_time_goes_by(clock: MovableClock[float]) -> None:
    watched = guard(clock)
    feed(watched, t1=(2000, 2000))

    clock.now += 1800
    assert feed(watched, t1=(1, 1)) == {"t1"}


def test_it_ends_when_the_share_is_back_within_the_limit(clock: MovableClock[float]) -> None:
    watched = guard(clock, max_share=0.5)
    feed(watched, t1=(2000, 2000))

    assert feed(watched, t1=(1000, 10)) == {"t1"}
    assert feed(watched, t1=(1100, 10)) == set()


def test_a_tenant_that_trips_it_is_nobody_elses_trouble(clock: MovableClock[float]) -> None:
    watched = guard(clock)
    for _ in range(10):
        feed(watched, t1=(2000, 2000))

    assert feed(watched, t1=(100, 100), t2=(20, 20)) == {"t1"}
    assert feed(watched, t2=(500, 500)) == set()


def test_many_small_tenants_trip_it_together(clock: MovableClock[float]) -> None:
    watched = guard(clock, grace=1000)

    tripped = [feed(watched, **{f"t{number}": (20, 20)}) for number in range(60)]

    assert tripped[:50] == [set()] * 50
    assert tripped[50:] == [{f"t{number}"} for number in range(50, 60)]


def test_healthy_tenants_keep_it_from_tripping_for_all(clock: MovableClock[float]) -> None:
    watched = guard(clock, grace=1000)
    feed(watched, t99=(100_000, 0))

    assert [feed(watched, **{f"t{number}": (20, 20)}) for number in range(90)] == [set()] * 90


def test_faults_of_our_own_trip_it_sooner(clock: MovableClock[float]) -> None:
    watched = guard(clock)
    batch = {ONE: Tally(FAULT_GRACE, FAULT_GRACE, FAULT_GRACE)}
    assert watched.withholds(batch) == set()
    watched.count(batch)

    assert watched.withholds({ONE: Tally(1, 1, 1)}) == {ONE}


def test_some_faults_among_many_other_refusals_are_not_the_reason(clock: MovableClock[float]) -> None:
    watched = guard(clock, max_share=0.5, grace=1000)

    assert watched.withholds({ONE: Tally(900, 900, 300)}) == set()


def test_a_share_of_one_switches_it_off(clock: MovableClock[float]) -> None:
    watched = guard(clock, max_share=1.0, grace=0)

    for _ in range(10):
        assert feed(watched, t1=(5000, 5000)) == set()
        clock.now += 61.7


def test_asking_counts_nothing(clock: MovableClock[float]) -> None:
    watched = guard(clock)
    batch = {ONE: Tally(600, 600)}

    assert [watched.withholds(batch) for _ in range(5)] == [set()] * 5


def test_a_batch_without_refusals_has_nothing_to_withhold(clock: MovableClock[float]) -> None:
    watched = guard(clock)
    feed(watched, t1=(2000, 2000))

    assert feed(watched, t1=(10, 0), t2=(10, 0)) == set()


def test_the_share_is_told(clock: MovableClock[float]) -> None:
    watched = guard(clock)
    feed(watched, t1=(100, 25))

    assert watched.share(ONE) == pytest.approx(0.25)
    assert watched.share(OTHER) == 0


@given(
    batches=st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 400), st.floats(0, 1), st.floats(0, 3600)), max_size=60
    ),
    max_share=st.floats(0, 0.99),
    grace=st.integers(0, 500),
)
def test_whatever_comes_a_refusal_passes_only_within_the_grace_or_the_share(
    batches: list[tuple[int, int, float, float]], max_share: float, grace: int
) -> None:
    clock = MovableClock(0.0)
    watched = guard(clock, max_share=max_share, grace=grace)
    for tenant_id, count, share, pause in batches:
        clock.now += pause
        batch = {tenant_id: Tally(count, int(count * share))}
        passed = batch[tenant_id].refused and not watched.withholds(batch)
        watched.count(batch)
        if passed:
            lately = watched._counts[tenant_id]
            assert lately.refused <= grace or lately.refused <= max_share * lately.events


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 0.001)), min_size=1, max_size=40))
def test_of_a_flood_of_refusals_no_more_pass_than_the_grace(batches: list[tuple[int, float]]) -> None:
    clock = MovableClock(0.0)
    watched = guard(clock, grace=1000)
    passed = 0
    for count, pause in batches:
        clock.now += pause
        if not feed(watched, t1=(count, count)):
            passed += count
    assert passed <= 1000
