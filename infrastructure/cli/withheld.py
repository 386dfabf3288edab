"""``sspp rejected withheld`` and ``release``: refusals that the dead-letter guard holds back, of all tenants."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from common.queue.withheld import WithheldEvents
from common.redis import open_redis
from common.store_urls import redis_access
from common.tenancy.tenants import find_tenant, list_tenants
from infrastructure.cli.console import AsJson, database, show
from infrastructure.loading.environment import find_variables

_SHOWN_REASONS = 3

EnvFile = Annotated[
    Path | None,
    typer.Option(
        help="Where DATABASE_URL and REDIS_URL are read from if not set in the environment.",
        show_default=".sspp/env, as written by sspp up",
    ),
]


def withheld(*, as_json: AsJson = False, env_file: EnvFile = None) -> None:
    """Show whose refusals are withheld, since they were suspiciously many, and why they would be refused.

    The oldest event and the reasons are those of a sample. Needs DATABASE_URL and REDIS_URL.
    """
    with _withheld_events(env_file) as events, database(env_file) as connection:
        slugs = {tenant.tenant_id: tenant.slug for tenant in list_tenants(connection)}
        summaries = {tenant_id: events.summary(tenant_id) for tenant_id in sorted(events.events())}
    rows = []
    for tenant_id, summary in summaries.items():
        reasons = [f"{code} {kind}".rstrip() for (code, kind), _ in summary.reasons[:_SHOWN_REASONS]]
        rows.append(
            {
                "tenant": slugs.get(tenant_id, str(tenant_id)),
                "events": summary.events,
                "oldest_received_at": summary.oldest_received_at,
                "reasons": reasons,
                "released_until": summary.released_until,
            }
        )
    show(rows, as_json=as_json)


def release(
    *,
    tenant: Annotated[
        str | None, typer.Option(metavar="SLUG", help="The tenant whose refusals are to be made.")
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="Every tenant that has withheld refusals at this moment.")
    ] = False,
    minutes: Annotated[
        int, typer.Option(min=1, max=1440, help="For how long they are made, however many they are.")
    ] = 60,
    env_file: EnvFile = None,
) -> None:
    """Refuse withheld events after all: they are tried once more, and what is still invalid is refused.

    Nothing is lost by that, see sspp rejected replay. Needs DATABASE_URL and REDIS_URL.
    """
    if everyone == bool(tenant):
        raise typer.BadParameter("say whose refusals: --tenant SLUG, or else --all")
    with _withheld_events(env_file) as events, database(env_file) as connection:
        chosen = sorted(events.events()) if tenant is None else [find_tenant(connection, tenant).tenant_id]
        count = sum(events.release(tenant_id, timedelta(minutes=minutes)) for tenant_id in chosen)
    typer.echo(f"{count:,} withheld event{'' if count == 1 else 's'} released, for {minutes} minutes.")


@contextmanager
def _withheld_events(env_file: Path | None) -> Iterator[WithheldEvents]:
    url = find_variables(("REDIS_URL",), os.environ, env_file=env_file)["REDIS_URL"]
    redis_access("REDIS_URL", url)  # the client would quote what it stumbles over, be it a password
    with open_redis(url) as client:
        yield WithheldEvents(client)
