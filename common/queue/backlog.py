"""What waits, measured when Prometheus asks: the lanes in Redis and the outbox in PostgreSQL."""

import structlog
from psycopg_pool import ConnectionPool
from redis import Redis

from common.database.connections import translated_errors
from common.database.queries import Queries
from common.errors import TransientError
from common.metrics import Metrics
from common.queue.streams import LANES, depth, oldest_ages
from common.queue.withheld import WithheldEvents

SELECT_OUTBOX_BACKLOG = Queries("common.database", "backlog.sql").select_outbox_backlog
"""A query without parameters: signals waiting, and the age in seconds of the oldest row."""

log = structlog.get_logger(__name__)


def measure_lanes(client: Redis, metrics: Metrics) -> None:
    """Set the gauges of every lane and of what is withheld; while Redis is away they keep their last values."""
    try:
        depths, ages = depth(client), oldest_ages(client)
        withheld = WithheldEvents(client).events()
    except TransientError as error:
        log.warning("lanes_not_measured", detail=error.detail)
        return
    for lane in LANES:
        metrics.set("sspp_lane_depth_events", depths.get(lane, 0), lane=lane)
        metrics.set("sspp_lane_oldest_age_seconds", ages[lane], lane=lane)
    metrics.set("sspp_withheld_events", sum(withheld.values()))


def measure_outbox(pool: ConnectionPool, metrics: Metrics) -> None:
    """Set the gauges of the outbox; while PostgreSQL is away they keep their last values."""
    try:
        with translated_errors(), pool.connection(timeout=1) as connection:
            row = connection.execute(SELECT_OUTBOX_BACKLOG).fetchone()
    except TransientError as error:
        log.warning("outbox_not_measured", detail=error.detail)
        return
    assert row is not None
    set_outbox_gauges(metrics, *row)


def set_outbox_gauges(metrics: Metrics, signals: int, age_seconds: float) -> None:
    """Take over what `SELECT_OUTBOX_BACKLOG` answered."""
    metrics.set("sspp_outbox_depth_signals", signals)
    metrics.set("sspp_outbox_oldest_age_seconds", age_seconds)
