"""``sspp rejected``: what was refused and why, and sending it through again once the reason is gone."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from common.clock import rfc3339
from infrastructure.cli.console import AsJson, Command, Commands, show
from infrastructure.cli.withheld import release, withheld
from infrastructure.loading.api_client import ApiClient
from infrastructure.loading.retrying import RetryPolicy
from infrastructure.loading.target import ADMIN_KEY, find_target

rejected = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Events that were refused: why, and once more after the repair."
)

_PATH = "/v1/rejected"
_LARGEST_PAGE = 500
_IDS_IN_A_REQUEST = 1000
_HINTS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: f"Check {ADMIN_KEY}.",
    HTTPStatus.FORBIDDEN: f"Replaying needs the scope admin, the rest read: check {ADMIN_KEY}.",
}

Code = Annotated[str | None, typer.Option(help="Only refused with this code.")]
Type = Annotated[str | None, typer.Option("--type", help="Only of this event type.")]
Since = Annotated[str | None, typer.Option(help="Only refused from this instant on (RFC 3339, or a date).")]
Until = Annotated[str | None, typer.Option(help="Only refused before this instant.")]
Url = Annotated[str | None, typer.Option(help="The API's address.", show_default="SSPP_API_URL")]
EnvFile = Annotated[
    Path | None,
    typer.Option(
        help=f"Where SSPP_API_URL and {ADMIN_KEY} are read from if not set in the environment.",
        show_default=".sspp/env, as written by sspp up",
    ),
]
RetryFor = Annotated[
    float,
    typer.Option(min=0, metavar="SECONDS", help="How long to go on trying while the API is away or busy."),
]


_Filters = dict[str, str]
"""Which refusals are meant: ``code``, ``event_type``, ``since`` and ``until``, as far as they were given."""


@rejected.command("list")
def list_(
    *,
    code: Code = None,
    event_type: Type = None,
    since: Since = None,
    until: Until = None,
    replayed: Annotated[
        bool, typer.Option("--replayed", help="Those that were sent through again, instead of the open ones.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Most refusals to show.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    env_file: EnvFile = None,
    retry_for: RetryFor = 30.0,
) -> None:
    """List refused events, the latest refusal first; --json has the events themselves too."""
    query = {**_filters(code, event_type, since, until), "status": "replayed" if replayed else "open"}
    with _api(url, env_file, retry_for) as api:
        found = list(islice(_walk(api, query, page=min(limit, _LARGEST_PAGE)), limit))
    if as_json:
        show(found, as_json=True)
        return
    columns = ("rejection_id", "rejected_at", "code", "event_type", "event_id", "detail")
    show([{name: refusal[name] for name in columns} for refusal in found], as_json=False)


@rejected.command("show", cls=Command)
def show_(
    rejection_id: Annotated[
        UUID, typer.Argument(metavar="ID", help="The rejection_id that sspp rejected list shows.")
    ],
    url: Url = None,
    env_file: EnvFile = None,
    retry_for: RetryFor = 30.0,
) -> None:
    """Show one refusal in full, the event as it was received included, as JSON."""
    with _api(url, env_file, retry_for) as api:
        refusal = api.ask("GET", f"{_PATH}/{rejection_id}")
    typer.echo(json.dumps(refusal, indent=2, ensure_ascii=False))


@rejected.command()
def replay(
    *,
    code: Code = None,
    event_type: Type = None,
    since: Since = None,
    until: Until = None,
    ids: Annotated[
        list[UUID] | None, typer.Option("--id", help="Only this refusal; repeat it for several.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All open refusals.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be sent through again, and send nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    url: Url = None,
    env_file: EnvFile = None,
    retry_for: RetryFor = 300.0,
) -> None:
    """Send open refusals through again, oldest first, as if they had just been accepted.

    Safe to repeat and to interrupt: an event counts once. What is refused
    again meanwhile is open again and is not taken a second time.
    """
    filters = _filters(code, event_type, since, until)
    if everything == bool(ids or filters):
        raise typer.BadParameter(
            "say which refusals: by --code, --type, --since, --until or --id, or else --all"
        )
    with _api(url, env_file, retry_for) as api:
        if dry_run:
            _show_counts(_chosen(api, filters, ids), as_json=as_json)
            return
        done = _replay(api, filters, ids)
    if as_json:
        typer.echo(json.dumps({"replayed": done.replayed, "left_to_another_replay": done.contested}))
        return
    typer.echo(f"{done.replayed:,} refused event{'' if done.replayed == 1 else 's'} sent through again.")
    if done.contested:
        typer.echo("The rest is in the hands of another replay at this moment.")
    if done.replayed:
        typer.echo("What is refused once more shows up in: sspp rejected list")


rejected.command()(withheld)
rejected.command()(release)


@dataclass(slots=True)
class _Done:
    """How many refusals went through again, and whether another replay held some that were meant."""

    replayed: int = 0
    contested: bool = False


def _replay(api: ApiClient, filters: _Filters, ids: list[UUID] | None) -> _Done:
    """Replay until nothing is left of what is open now; tells the count on stderr between requests."""
    done = _Done()
    newest = next(_walk(api, filters, page=1), None)
    if newest is None:
        return done
    # Events that are refused again while this runs are open again, but later: without this end, by the
    # platform's own clock, the loop would send them round and round.
    end = datetime.fromisoformat(newest["rejected_at"]) + timedelta(microseconds=1)
    wanted: dict[str, Any] = {**filters, "until": rfc3339(end)}
    for chunk in _chunks(ids):
        more = True
        while more:
            answer = api.ask("POST", f"{_PATH}/replay", json={**wanted, **chunk})
            done.replayed += answer["replayed"]
            more = answer["more"] and answer["replayed"] > 0
            done.contested |= answer["more"] and not more
            if more:
                typer.echo(f"{done.replayed:,} sent through again so far", err=True)
    return done


def _chunks(ids: list[UUID] | None) -> Iterator[dict[str, list[str]]]:
    """What requests for `ids` must say; without ids it is one request that says nothing of them."""
    if not ids:
        yield {}
        return
    for start in range(0, len(ids), _IDS_IN_A_REQUEST):
        yield {"ids": [str(each) for each in ids[start : start + _IDS_IN_A_REQUEST]]}


def _chosen(api: ApiClient, filters: _Filters, ids: list[UUID] | None) -> Iterator[dict[str, Any]]:
    """The open refusals that `filters` and `ids` choose."""
    wanted = {str(each) for each in ids or ()}
    return (each for each in _walk(api, filters) if not wanted or each["rejection_id"] in wanted)


def _show_counts(refusals: Iterator[dict[str, Any]], *, as_json: bool) -> None:
    counts = Counter((refusal["code"], refusal["event_type"]) for refusal in refusals)
    show(
        [
            {"code": code, "event_type": event_type, "events": count}
            for (code, event_type), count in sorted(counts.items())
        ],
        as_json=as_json,
    )


def _filters(code: str | None, event_type: str | None, since: str | None, until: str | None) -> _Filters:
    given = {"code": code, "event_type": event_type, "since": since, "until": until}
    return {name: value for name, value in given.items() if value is not None}


def _walk(api: ApiClient, query: _Filters, *, page: int = _LARGEST_PAGE) -> Iterator[dict[str, Any]]:
    """The refusals that match, the latest first, fetched page by page as they are needed."""
    parameters: dict[str, Any] = {**query, "limit": page}
    while True:
        answer = api.ask("GET", _PATH, params=parameters)
        yield from answer["items"]
        if answer["next_cursor"] is None:
            return
        parameters["cursor"] = answer["next_cursor"]


def _api(url: str | None, env_file: Path | None, retry_for: float) -> ApiClient:
    target = find_target(os.environ, url=url, env_file=env_file, key_name=ADMIN_KEY)
    policy = RetryPolicy(
        retry_for,
        on_wait=lambda reason, seconds: typer.echo(f"{reason}; next try in {seconds:.0f} s", err=True),
    )
    return ApiClient(target, policy, agent="sspp-rejected", hints=_HINTS)
