"""When busy tenants give way to quiet ones, and how far."""

from datetime import UTC, datetime

import pytest
from movable_clock import MovableClock

from common.queue.streams import Entry, Record, busy_lane_of, lane_of
from worker.ingest.quiet_tenants import MOST_EVENTS_AT_ONCE, QuietTenants

NOW = datetime(2026, 11, 21, tzinfo=UTC)
BUSY, QUIET = 7, 23


def entry(tenant: int, *, busy: bool) -> Entry:
    lane = busy_lane_of(tenant) if busy else lane_of(tenant)
    return Entry(lane, b"1-0", tenant, (Record("e", NOW, b"{}"),))


@pytest.fixture
def tenants(clock: MovableClock[float]) -> QuietTenants:
    return QuietTenants(clock)


def test_a_busy_tenant_alone_gives_way_to_nobody(tenants: QuietTenants) -> None:
    # What it had sent before it was busy lies in the lane itself.
    tenants.note([entry(BUSY, busy=True), entry(BUSY, busy=False)])

    assert not tenants.give_way


def test_quiet_tenants_alone_have_nobody_to_give_them_way(tenants: QuietTenants) -> None:
    tenants.note([entry(BUSY, busy=False), entry(QUIET, busy=False)])

    assert not tenants.give_way


def test_who_was_there_a_moment_ago_is_taken_to_come_back(
    tenants: QuietTenants, clock: MovableClock[float]
) -> None:
    tenants.note([entry(QUIET, busy=False)])
    clock.now += 9
    tenants.note([entry(BUSY, busy=True)])
    assert tenants.give_way

    clock.now += 2
    assert not tenants.give_way


def test_a_tenant_that_is_no_longer_busy_is_quiet(tenants: QuietTenants, clock: MovableClock[float]) -> None:
    tenants.note([entry(BUSY, busy=True)])
    clock.now += 11
    tenants.note([entry(BUSY, busy=False), entry(QUIET, busy=True)])

    assert tenants.give_way


def test_while_somebody_gives_way_batches_are_of_one_kind_and_short_for_the_busy(
    tenants: QuietTenants,
) -> None:
    quiet, busy = [entry(QUIET, busy=False)] * 3, [entry(BUSY, busy=True)] * 5
    assert tenants.next_stretch([*quiet, *busy], 5000) == ([*quiet, *busy], 5000)
    tenants.note([*quiet, *busy])

    assert tenants.next_stretch([*quiet, *busy], 5000) == (quiet, 5000)
    assert tenants.next_stretch([*busy, *quiet], 5000) == (busy, MOST_EVENTS_AT_ONCE)
    assert tenants.next_stretch(busy, 10) == (busy, 10)
    assert tenants.next_stretch([], 10) == ([], 10)
