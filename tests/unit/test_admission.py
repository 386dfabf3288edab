import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.body_budget import BodyBudget
from api.http.errors import ShedError
from api.ingest.admission import Admission, drain_rate, retry_after_seconds
from common.metrics import Metrics
from common.queue.queued_bytes import QueuedBytes
from common.redis import open_async_redis
from common.settings import Settings

NOWHERE = "redis://127.0.0.1:1/0"


def admission(**limits: object) -> Admission:
    urls = {"DATABASE_URL": "", "REDIS_URL": NOWHERE, "ELASTICSEARCH_URL": ""}
    return Admission(open_async_redis(NOWHERE), Settings.model_validate(urls | limits), Metrics())


def shed(check: Callable[[], None]) -> tuple[int, str]:
    with pytest.raises(ShedError) as caught:
        check()
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 60
    return caught.value.status, caught.value.code


@given(st.floats(0, 1e6), st.integers(0, 2**50), st.floats(0, 1e12, allow_nan=False, allow_infinity=False))
def test_nobody_is_sent_away_for_less_than_a_second_or_more_than_a_minute(
    load: float, queued: int, rate: float
) -> None:
    assert 1 <= retry_after_seconds(load, queued, rate) <= 60


@pytest.mark.parametrize(
    ("load", "queued", "rate", "seconds"),
    [(1.0, 1000, 10.0, 10), (2.0, 2000, 110.0, 10), (1.8, 1000, 50.0, 10)],
    ids=["full", "twice as full", "one tenant's share of the queue"],
)
def test_who_is_sent_away_comes_back_when_a_tenth_is_free(
    load: float, queued: int, rate: float, seconds: int
) -> None:
    for _ in range(100):
        assert seconds <= retry_after_seconds(load, queued, rate) <= seconds * 1.25 + 1


def test_who_is_sent_away_together_does_not_come_back_together() -> None:
    assert len({retry_after_seconds(1.0, 4000, 10.0) for _ in range(200)}) > 5
    assert len({retry_after_seconds(1.0, 4000, 0.0) for _ in range(200)}) > 5


def test_while_nothing_drains_the_wait_is_about_the_longest() -> None:
    assert 48 <= retry_after_seconds(1.0, 1000, 0.0) <= 60


def test_the_rate_is_that_of_the_whole_window() -> None:
    assert drain_rate([(0.0, 100), (1.0, 900), (10.0, 1100)]) == 100
    assert drain_rate([(0.0, 100)]) == drain_rate([]) == 0


def test_a_tenant_has_its_own_limit_and_all_have_one_together() -> None:
    limits = admission(SSPP_MAX_QUEUED_BYTES=1000, SSPP_MAX_TENANT_QUEUED_BYTES=400)
    limits.learn({1: 400, 2: 300}, 700)

    assert shed(lambda: limits.check(1)) == (429, "tenant_queue_full")
    limits.check(2, 100)
    assert shed(lambda: limits.check(2, 101)) == (429, "tenant_queue_full")
    limits.check(3, 300)
    assert shed(lambda: limits.check(3, 301)) == (503, "queue_full")


def test_tenants_with_withheld_events_hold_half_of_the_queue_at_most() -> None:
    limits = admission(SSPP_MAX_QUEUED_BYTES=1000, SSPP_MAX_TENANT_QUEUED_BYTES=400)
    limits._note(QueuedBytes({1: 300, 2: 200, 3: 100}, 600, 0, (0.0,) * 16, frozenset({1, 2})), now=1.0)

    assert shed(lambda: limits.check(1)) == (429, "refusals_withheld")
    assert shed(lambda: limits.check(2)) == (429, "refusals_withheld")
    limits.check(3)


def test_what_is_on_its_way_counts_until_it_arrives() -> None:
    limits = admission(SSPP_MAX_TENANT_QUEUED_BYTES=400)
    limits.reserve(1, 300)

    assert shed(lambda: limits.check(1, 101)) == (429, "tenant_queue_full")
    limits.learn({1: 200}, 200)
    limits.release(1, 300)
    limits.check(1, 200)


def test_an_empty_queue_takes_what_is_larger_than_the_limit() -> None:
    admission(SSPP_MAX_TENANT_QUEUED_BYTES=10, SSPP_MAX_QUEUED_BYTES=10).check(1, 1_000_000)


def test_while_redis_is_away_what_was_known_last_counts() -> None:
    async def run() -> tuple[int, str]:
        limits = admission(SSPP_MAX_TENANT_QUEUED_BYTES=400)
        limits.learn({1: 400}, 400)
        await limits.start()
        try:
            return shed(lambda: limits.check(1))
        finally:
            await limits.stop()

    assert asyncio.run(run()) == (429, "tenant_queue_full")


def test_bodies_are_bounded_together_and_their_bytes_are_given_back() -> None:
    metrics = Metrics()
    budget = BodyBudget(max_bytes=100, timeout_seconds=1, metrics=metrics)

    with budget.lease() as first, budget.lease() as second:
        first.hold(60)
        second.hold(40)
        assert shed(lambda: second.hold(1)) == (503, "api_busy")
        assert metrics.registry.get_sample_value("sspp_body_bytes") == 100
    assert metrics.registry.get_sample_value("sspp_body_bytes") == 0
    with budget.lease() as third:
        third.hold(100)
