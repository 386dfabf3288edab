"""Whether a tenant notices what another one sends that shares its lane."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from uuid import UUID

import psycopg

from common.envelope import event_key
from common.queue.streams import depth, lane_of
from common.redis import open_redis
from common.tenancy.keys import create_key
from common.tenancy.plans import Limits, set_plan
from common.tenancy.tenants import create_tenant
from infrastructure.database.connections import connect
from suite.bench import Bench, Place
from suite.checking import check_stored
from suite.events import Event, Workload
from suite.http_load import Load, send
from suite.measuring import Comparison, Contender, Findings, in_turns, percentile
from suite.noop_jobs import UNCOUNTED_SECONDS
from suite.watching import Watch, stored

_SHARE_PER_SECOND = 100
_TIMES = 50
_POLL_SECONDS = 0.001
_LONGEST_DRAIN_SECONDS = 120

SHARE = f"the other at its share, {_SHARE_PER_SECOND} a second"
LIMITED = f"the other at {_TIMES} times its share, which its plan allows"
UNLIMITED = f"the other at {_TIMES} times its share, without a limit"
ELSEWHERE = f"the other at {_TIMES} times its share, without a limit, in a lane of its own"
FLOOD = "the other as fast as it can, without a limit"


@dataclass(frozen=True, slots=True)
class _Noise:
    """What the other tenant sends meanwhile.

    Without `requests_per_second` it sends again when it is answered, on four connections.
    """

    events_per_request: int
    requests_per_second: float | None
    is_limited: bool = False
    shares_lane: bool = True


_NOISES = {
    SHARE: _Noise(1, _SHARE_PER_SECOND),
    LIMITED: _Noise(_TIMES, _SHARE_PER_SECOND, is_limited=True),
    UNLIMITED: _Noise(_TIMES, _SHARE_PER_SECOND),
    ELSEWHERE: _Noise(_TIMES, _SHARE_PER_SECOND, shares_lane=False),
    FLOOD: _Noise(500, None),
}


def run(bench: Bench) -> Findings:
    """Compare what a tenant with 100 events a second, at random, waits from POST to stored.

    Another tenant, in the same lane, sends as many, fifty times as many, or as many as it can; or fifty times as many
    in a lane of its own: what the quiet one waits for then is the machine, and no lane.
    """
    findings = Findings()
    seconds = bench.scope.choose(15, 5)
    pooled: dict[str, list[float]] = {name: [] for name in _NOISES}

    def contender(name: str, noise: _Noise) -> Contender:
        def p95(number: int) -> float:
            with bench.place() as place:
                found, problems = _latencies(bench, place, noise, seconds)
            findings.problems += problems
            if number:
                pooled[name] += found
            return 1000 * percentile(found, 0.95)

        return p95

    series = in_turns(
        {name: contender(name, noise) for name, noise in _NOISES.items()},
        bench.rounds,
        unit="ms",
        note=bench.note,
    )
    findings.comparisons += [
        Comparison(
            key,
            f"POST to stored, p95: {name} : {other}",
            series[name],
            series[other],
            goal=goal,
            better="lower",
            remark="two tenants, one ingest worker",
        )
        for key, name, other, goal in (
            ("fairness_limited", LIMITED, SHARE, 2),
            ("fairness_unlimited", UNLIMITED, SHARE, 2),
            ("fairness_flood", FLOOD, SHARE, None),
            ("fairness_of_lane", UNLIMITED, ELSEWHERE, None),
        )
    ]
    for name, found in pooled.items():
        told = ", ".join(
            f"p{share * 100:.0f} {1000 * percentile(found, share):.1f}" for share in (0.5, 0.95, 0.99)
        )
        findings.figures[f"POST to stored, {name}"] = f"{told} ms"
    return findings


def _latencies(bench: Bench, place: Place, noise: _Noise, seconds: int) -> tuple[list[float], list[str]]:
    """The seconds from POST to stored of the quiet tenant's events; and what is wrong."""
    other, other_key = _neighbour(place, noise)
    # A plan's bucket of events holds a request's worth: not so many that the limit would only hold in the end.
    settings = {"SSPP_MAX_REQUEST_EVENTS": str(_SHARE_PER_SECOND)} if noise.is_limited else {}
    uncounted = UNCOUNTED_SECONDS * _SHARE_PER_SECOND
    count = uncounted + seconds * _SHARE_PER_SECOND
    events = Workload("quiet", duplicates=False, refused=False).events(count)
    keys = [event_key(place.tenant_id, event.event_id) for event in events]
    with (
        bench.fleet(place, settings=settings) as fleet,
        psycopg.connect(place.database_url, autocommit=True) as connection,
    ):
        url = f"{fleet.api_url}/v1/events"
        watch = Watch(keys, stored(connection), _POLL_SECONDS, at_once=4 * _SHARE_PER_SECOND)
        watch.start()
        with _sending(_noise_load(url, other_key, noise, seconds)):
            load = Load(
                url,
                place.key,
                "quiet",
                count,
                uncounted=uncounted,
                per_second=_SHARE_PER_SECOND,
                all_new=True,
            )
            sent = send(load)
        missing = watch.finish()
        _wait_until_drained(place)
    problems = [f"{missing} events of the quiet tenant were not stored"] if missing else []
    theirs: list[Event] = []
    if not noise.is_limited:
        load = _noise_load(url, other_key, noise, seconds)
        theirs = Workload("noisy", duplicates=False, refused=False).events(
            load.count * load.events_per_request
        )
        problems += check_stored(place, {place.tenant_id: events, other: theirs})
    due: dict[UUID, float] = dict(zip(keys[uncounted:], sent.due, strict=True))
    return [instant - due[key] for key, instant in watch.seen.items() if key in due], problems


def _neighbour(place: Place, noise: _Noise) -> tuple[int, str]:
    """Another tenant, of the same lane or another one, and a key of it."""
    with connect(place.database_url) as connection:
        set_plan(connection, "trial", Limits(events_per_second=_SHARE_PER_SECOND))
        plan = "trial" if noise.is_limited else "enterprise"
        number = 0
        while True:
            number += 1
            tenant = create_tenant(connection, f"neighbour-{number}", "Neighbour", plan)
            if (lane_of(tenant.tenant_id) == lane_of(place.tenant_id)) is noise.shares_lane:
                return tenant.tenant_id, create_key(connection, tenant.slug, "bench", ["ingest"])


def _noise_load(url: str, key: str, noise: _Noise, seconds: int) -> Load:
    per_second = noise.requests_per_second or 20
    return Load(
        url,
        key,
        "noisy",
        int((UNCOUNTED_SECONDS + seconds) * per_second),
        connections=64 if noise.requests_per_second else 4,
        per_second=noise.requests_per_second,
        all_new=True,
        events_per_request=noise.events_per_request,
        may_be_refused=noise.is_limited,
    )


@contextmanager
def _sending(load: Load) -> Iterator[None]:
    """Send `load` meanwhile; its failure is the block's."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            send(load)
        except Exception as error:  # noqa: BLE001  # it is raised where somebody waits for it
            failures.append(error)

    sender = Thread(target=run)
    sender.start()
    try:
        yield
    finally:
        sender.join()
    if failures:
        raise failures[0]


def _wait_until_drained(place: Place) -> None:
    deadline = time.monotonic() + _LONGEST_DRAIN_SECONDS
    with open_redis(place.redis_url) as client:
        while depth(client) and time.monotonic() < deadline:
            time.sleep(0.1)
