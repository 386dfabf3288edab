"""The thread of a maintenance worker that measures, so that no scrape waits for a store."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal, Self

import structlog

from common.clock import system_clock
from common.errors import TransientError
from common.metrics import Metrics
from common.services import Services
from worker.measuring.comparison import compare_index
from worker.measuring.database import measure_activity, measure_sizes
from worker.measuring.disks import measure_disks
from worker.measuring.queue import measure_redis
from worker.measuring.search import measure_search
from worker.measuring.tenants import measure_tenants

_OFTEN_SECONDS = 15.0
_SELDOM_SECONDS = 60.0
_COMPARE_SECONDS = 300.0
_SLICE_SECONDS = 1.0
_STOP_SECONDS = 2.0

_LAST_SUCCESS = "sspp_measurement_last_success_timestamp_seconds"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Measurement:
    """Something that is measured every `period` seconds.

    `measure` may raise TransientError while a store is away: the metrics then keep what they showed. Where it is what
    tells whether `store` is up, that is shown.
    """

    name: str
    period: float
    measure: Callable[[], None]
    store: Literal["postgresql", "redis", "elasticsearch"] | None = None
    due: float = field(default=0.0)


class Measuring:
    """Measures, one after the other, for as long as the context lasts. No failure ends it."""

    def __init__(self, measurements: Sequence[Measurement], metrics: Metrics) -> None:
        self._metrics = metrics
        self._measurements = measurements
        for each in measurements:
            metrics.set(_LAST_SUCCESS, 0, measurement=each.name)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="measuring", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        # What hangs in a store must not hold up a worker that is told to stop: nothing is lost with it.
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while not self._done.is_set():
            for measurement in self._measurements:
                if not self._done.is_set() and monotonic() >= measurement.due:
                    run(measurement, self._metrics)
                    measurement.due = monotonic() + measurement.period
            self._done.wait(_SLICE_SECONDS)


def run(measurement: Measurement, metrics: Metrics) -> None:
    """Measure once; a failure is logged, and shows by when it last succeeded."""
    up = 0
    began = monotonic()
    try:
        measurement.measure()
        up = 1
        metrics.set(_LAST_SUCCESS, system_clock().timestamp(), measurement=measurement.name)
    except TransientError as error:
        log.warning("not_measured", measurement=measurement.name, code=error.code, detail=error.detail)
    except Exception:  # whatever it is, the others are still worth measuring
        log.exception("not_measured", measurement=measurement.name)
    metrics.set("sspp_measurement_seconds", monotonic() - began, measurement=measurement.name)
    if measurement.store:
        metrics.set("sspp_store_up", up, store=measurement.store)


def measurements(s: Services) -> list[Measurement]:
    """What a maintenance worker measures."""
    pool, redis, search, metrics, paths = s.pool, s.redis, s.search, s.metrics, s.settings.disk_paths
    return [
        Measurement("redis", _OFTEN_SECONDS, lambda: measure_redis(redis, metrics), "redis"),
        Measurement("database", _OFTEN_SECONDS, lambda: measure_activity(pool, metrics), "postgresql"),
        Measurement("search", _OFTEN_SECONDS, lambda: measure_search(search, metrics), "elasticsearch"),
        Measurement("disks", _OFTEN_SECONDS, lambda: measure_disks(paths, metrics)),
        Measurement("tenants", _OFTEN_SECONDS, lambda: measure_tenants(pool, redis, metrics)),
        Measurement("sizes", _SELDOM_SECONDS, lambda: measure_sizes(pool, metrics, s.clock)),
        Measurement("index", _COMPARE_SECONDS, lambda: compare_index(pool, search, metrics)),
    ]
