"""Measurements that fail, hang or surprise harm no other, and show."""

from contextlib import closing
from functools import partial
from threading import Event, Semaphore
from time import monotonic

import pytest
from measured import shown
from patience import PATIENCE_SECONDS
from psycopg_pool import ConnectionPool

from common.database.connections import open_pool
from common.errors import DatabaseUnavailableError, SearchUnavailableError
from common.metrics import Metrics
from common.search.client import open_client
from worker.measuring.database import measure_activity
from worker.measuring.measuring import Measurement, Measuring, run
from worker.measuring.search import measure_search


def test_a_store_that_is_away_is_down_and_keeps_what_it_showed(
    pool: ConnectionPool, unserved_port: int, metrics: Metrics
) -> None:
    measurement = Measurement("database", 1, lambda: measure_activity(pool, metrics), "postgresql")
    run(measurement, metrics)
    assert shown(metrics, "sspp_store_up", store="postgresql") == 1
    limit = shown(metrics, "sspp_database_connections_limit")

    with open_pool(f"postgresql://127.0.0.1:{unserved_port}/sspp", application="test") as away:
        with pytest.raises(DatabaseUnavailableError):
            measure_activity(away, metrics)
        run(Measurement("database", 1, lambda: measure_activity(away, metrics), "postgresql"), metrics)

    assert shown(metrics, "sspp_store_up", store="postgresql") == 0
    assert shown(metrics, "sspp_database_connections_limit") == limit


def test_a_search_server_that_is_away_is_told_as_such(unserved_port: int, metrics: Metrics) -> None:
    with (
        closing(open_client(f"http://127.0.0.1:{unserved_port}")) as away,
        pytest.raises(SearchUnavailableError),
    ):
        measure_search(away, metrics)


def test_a_failure_shows_by_when_it_last_succeeded(metrics: Metrics) -> None:
    last_success = "sspp_measurement_last_success_timestamp_seconds"
    failing = Measurement("index", 1, partial(next, iter(["measured"])))

    with Measuring([failing], metrics):
        pass
    assert shown(metrics, last_success, measurement="index") is not None

    run(failing, metrics)
    succeeded = shown(metrics, last_success, measurement="index")
    run(failing, metrics)
    assert shown(metrics, last_success, measurement="index") == succeeded
    assert shown(metrics, "sspp_measurement_seconds", measurement="index") is not None


def test_what_never_succeeded_shows_from_the_start(metrics: Metrics) -> None:
    Measuring([Measurement("index", 1, lambda: None)], metrics)

    assert shown(metrics, "sspp_measurement_last_success_timestamp_seconds", measurement="index") == 0


def test_a_measurement_that_hangs_holds_up_no_worker_that_ends(metrics: Metrics) -> None:
    began, released = Event(), Event()

    def hang() -> None:
        began.set()
        released.wait(PATIENCE_SECONDS)

    try:
        with Measuring([Measurement("hangs", 1, hang)], metrics):
            assert began.wait(PATIENCE_SECONDS)
            ends = monotonic()
        assert monotonic() - ends < 30
    finally:
        released.set()


def test_each_is_measured_again_when_it_is_due_whatever_the_others_do(metrics: Metrics) -> None:
    rounds = Semaphore(0)

    with Measuring(
        [
            Measurement("fails", 0, partial(next, iter([]))),
            Measurement("often", 0, rounds.release),
            Measurement("seldom", 3600, Semaphore(0).release),
        ],
        metrics,
    ):
        for _ in range(2):
            assert rounds.acquire(timeout=PATIENCE_SECONDS)


def test_a_surprise_ends_nothing(metrics: Metrics) -> None:
    def surprise() -> None:
        raise ZeroDivisionError

    run(Measurement("surprise", 1, surprise, "redis"), metrics)

    assert shown(metrics, "sspp_store_up", store="redis") == 0
