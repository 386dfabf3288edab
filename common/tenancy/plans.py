"""Plans: what the tenants that have one may use."""

from dataclasses import asdict, dataclass

from psycopg.rows import class_row

from common.database.queries import Queries
from common.tenancy.tenants import PLANS, Connection, Plan

_sql = Queries(__package__, "plans.sql")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many requests and events a second, and how many new events a month; None is no limit."""

    requests_per_second: int | None = None
    events_per_second: int | None = None
    monthly_events: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLimits(Limits):
    """The limits of one plan."""

    plan: Plan


def list_plans(connection: Connection) -> list[PlanLimits]:
    """All plans, the smallest first."""
    with connection.cursor(row_factory=class_row(PlanLimits)) as cursor:
        return cursor.execute(_sql.list_plans, {"order": list(PLANS)}).fetchall()


def set_plan(connection: Connection, plan: Plan, limits: Limits) -> PlanLimits:
    """Replace the limits of a plan; within 2 seconds they hold for its tenants."""
    with connection.cursor(row_factory=class_row(PlanLimits)) as cursor:
        [changed] = cursor.execute(_sql.set_plan, {"plan": plan, **asdict(limits)}).fetchall()
    return changed
