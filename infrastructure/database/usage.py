"""Counting again what tenants have used, where workers of an older release stored events and counted none."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from common.database.partitions import month_start
from common.database.queries import Queries
from infrastructure.database.connections import Connection

_sql = Queries(__package__, "usage.sql")


@dataclass(frozen=True, slots=True)
class Uncounted:
    """How many stored `events` of tenant `slug` and of `month`, ``YYYY-MM``, were counted by nobody before."""

    slug: str
    month: str
    events: int


def recount(connection: Connection, month: datetime) -> list[Uncounted]:
    """Raise the usage of the month that `month` lies in to the events of it that are stored.

    Returns what was missing, by tenant.

    It never lowers one: what was erased or has expired was used. Workers may go on meanwhile, and nothing is counted
    twice however often it runs. It reads the whole month of the log.
    """
    span = {"starts": month_start(month), "ends": month_start(month, 1)}
    with connection.transaction():
        connection.execute(_sql.take_turns)
        with connection.cursor(row_factory=class_row(Uncounted)) as cursor:
            return cursor.execute(_sql.recount, span).fetchall()
