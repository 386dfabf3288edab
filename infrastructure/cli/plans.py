"""``sspp plans``: what the tenants of each plan may use."""

from dataclasses import asdict
from typing import Annotated

import typer

from common.tenancy.plans import Limits, list_plans, set_plan
from common.tenancy.tenants import Plan
from infrastructure.cli.console import AsJson, Command, Commands, DatabaseEnvFile, database, show

plans = typer.Typer(cls=Commands, no_args_is_help=True, help="What the tenants of each plan may use.")

_NO_LIMIT = "none"
_LIFTED = -1


def _parse_limit(value: str) -> int:
    """The number, or `_LIFTED`."""
    if value == _NO_LIMIT:
        return _LIFTED
    if value.isascii() and value.isdecimal() and 0 < int(value) <= 2**31 - 1:
        return int(value)
    raise typer.BadParameter(f"a number from 1 on, or {_NO_LIMIT}")


Limit = Annotated[
    int | None,
    typer.Option(
        parser=_parse_limit, metavar="N|none", help="What is not given stays; none lifts the limit."
    ),
]


@plans.command("list")
def list_(as_json: AsJson = False, env_file: DatabaseEnvFile = None) -> None:
    """List the plans with their limits."""
    with database(env_file) as connection:
        show([{"plan": plan.plan, **asdict(plan)} for plan in list_plans(connection)], as_json=as_json)


@plans.command("set", cls=Command)
def set_(
    plan: Annotated[Plan, typer.Argument(metavar="PLAN", help="trial, starter, pro or enterprise.")],
    requests_per_second: Limit = None,
    events_per_second: Limit = None,
    monthly_events: Limit = None,
    env_file: DatabaseEnvFile = None,
) -> None:
    """Change a plan's limits; within 2 seconds they hold for all tenants that have it."""
    with database(env_file) as connection, connection.transaction():
        [current] = [each for each in list_plans(connection) if each.plan == plan]
        limits = Limits(
            _changed(current.requests_per_second, requests_per_second),
            _changed(current.events_per_second, events_per_second),
            _changed(current.monthly_events, monthly_events),
        )
        show([asdict(set_plan(connection, plan, limits))], as_json=False)


def _changed(current: int | None, given: int | None) -> int | None:
    if given is None:
        return current
    return None if given == _LIFTED else given
