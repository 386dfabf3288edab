"""Sending a month again whose index lost more than the outbox still keeps, a slice at a time."""

import structlog
from psycopg import Connection

from common.database.queries import Queries
from common.metrics import Metrics
from worker.index.marks import forget_mark

_sql = Queries("worker.index", "refill.sql")
log = structlog.get_logger(__name__)


def refill_outbox(connection: Connection, metrics: Metrics, *, most_signals: int) -> int:
    """Put the next signals of a month that is sent again into the outbox, from the newest on.

    Commit it before anything else: the position up to which it got is noted in the same transaction.

    Returns:
        How many, `most_signals` at most; 0 if there is none, or another stage is at it.
    """
    row = connection.execute(_sql.lock_refill).fetchone()
    if row is None:
        return 0
    name, received_from, received_until, through_at, through_id = row
    found = connection.execute(
        _sql.refill_outbox,
        {
            "received_from": received_from,
            "received_until": received_until,
            "through_at": through_at,
            "through_id": through_id,
            "signals": most_signals,
        },
    ).fetchone()
    signals, last_at, last_id = found or (0, None, None)
    if signals == most_signals:
        position = {"index_name": name, "through_at": last_at, "through_id": last_id}
        connection.execute(_sql.advance_refill, position)
    elif not signals and through_at is None:
        forget_mark(connection, name)  # retention dropped the month
    else:
        connection.execute(_sql.finish_refill, {"index_name": name})
        log.info("index_refilled", index=name)
    metrics.count("sspp_signals_reopened_total", signals)
    return int(signals)
