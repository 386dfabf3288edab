"""The whole way of events against what people would use instead: one job per event, by RQ, Celery and Dramatiq.

Each peer gets the same servers, the same client and as many processes as there are cores, set up as its documentation
recommends (`peers/`). All do the same work per event; what is measured is the time from the first request until every
event is stored and searchable. Each peer is sent as many events as it gets through in 10 to 20 seconds. SSPP gets
30,000 in bulk, which is 4 seconds: the embedded search server works more slowly the more documents it holds, so many
more would measure the server, and as many seconds as the peers have would be to their advantage.
"""

import os
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from common.search.client import open_client
from common.search.generations import MonthIndices
from common.search.indices import ensure_indices
from infrastructure.local.ports import HOST, free_port
from infrastructure.local.process import Command
from infrastructure.local.search import answers_ok
from suite.arrival import wait_until_searchable
from suite.bench import Bench, Place
from suite.bulk_load import send_in_bulk
from suite.checking import ALL_TABLES, WITHOUT_OUTBOX, check_arrived
from suite.events import Event, Workload, distinct_valid
from suite.http_load import Load, send
from suite.machine import cores
from suite.measuring import Comparison, Findings, Series, in_turns
from suite.scenarios import ScenarioError
from suite.scenarios.store_stage import RECEIVED_AT

_BENCH, _PROJECT = Path(__file__).parents[2], Path(__file__).parents[4]
_BIN = Path(sys.executable).parent
_CONNECTIONS = 64
_WARM_UP, _WORKLOAD = "peers-warm-up", "peers"
_OTHERS, _GOAL_FOR_BEST_OTHER = ("Celery", "Dramatiq"), 15


@dataclass(frozen=True, slots=True)
class Peer:
    """A queue of others: the module of its endpoint, and the command lines of its workers.

    `events` is how many a round sends, `threads` how many use the same connections in one process.
    """

    key: str
    name: str
    module: str
    workers: tuple[tuple[str, ...], ...]
    events: int
    goal: float | None = None
    threads: int = 1


def peers() -> tuple[Peer, ...]:
    """All of them, for this machine: RQ's workers do one job at a time, the others start what they need themselves."""
    rq = (str(_BIN / "rq"), "worker", "events", "--serializer", "json")
    simple = (*rq, "--worker-class", "rq.worker.SimpleWorker")
    preloaded = (sys.executable, "-m", "peers.rq_preloaded")
    celery = (str(_BIN / "celery"), "--app", "peers.with_celery:celery", "worker")
    dramatiq = (str(_BIN / "dramatiq"), "peers.with_dramatiq")
    return (
        Peer("rq_forking", "RQ, forking", "peers.with_rq", (rq,) * cores(), 60, goal=1_000),
        Peer(
            "rq_preloaded", "RQ, forking with modules preloaded", "peers.with_rq", (preloaded,) * cores(), 240
        ),
        Peer("rq_simple", "RQ, SimpleWorker", "peers.with_rq", (simple,) * cores(), 2_000, goal=50),
        Peer("celery", "Celery", "peers.with_celery", (celery,), 4_000),
        Peer("dramatiq", "Dramatiq", "peers.with_dramatiq", (dramatiq,), 6_000, threads=8),
    )


def run(bench: Bench) -> Findings:
    """Compare events a second, from the first request to searchable, with those of each peer.

    Raises:
        ScenarioError: a peer is not installed.
    """
    if missing := [name for name in ("celery", "dramatiq") if find_spec(name) is None]:
        raise ScenarioError(f"peers needs {' and '.join(missing)}: make bench installs what it needs")
    findings = Findings()
    bulk = Workload(_WORKLOAD).events(bench.scope.choose(30_000, 20_000))
    single = bench.scope.choose(30_000, 8_000)
    contenders = {
        "SSPP": lambda _round: _in_bulk(bench, bulk, findings),
        "SSPP, single POSTs": lambda _round: _singly(bench, single, findings),
    } | {peer.name: partial(_through_peer, bench, peer, findings) for peer in peers()}
    found = in_turns(
        contenders, bench.scope.choose(3, 1), unit="events stored/s", note=bench.note, warm_up=False
    )
    best = max(_OTHERS, key=lambda name: found[name].median)
    for peer in peers():
        goal = _GOAL_FOR_BEST_OTHER if peer.name == best else peer.goal
        findings.comparisons.append(_compare(f"peers_{peer.key}", found["SSPP"], found[peer.name], goal=goal))
    for peer in peers():
        findings.comparisons.append(
            _compare(f"peers_single_{peer.key}", found["SSPP, single POSTs"], found[peer.name])
        )
    return findings


def _compare(key: str, ours: Series, theirs: Series, goal: float | None = None) -> Comparison:
    remark = "to each peer one job an event by single POSTs"
    return Comparison(key, f"{ours.name}, whole way : {theirs.name}", ours, theirs, goal=goal, remark=remark)


def _in_bulk(bench: Bench, events: list[Event], findings: Findings) -> float:
    with bench.place() as place, bench.fleet(place) as fleet:
        started = time.monotonic()
        send_in_bulk(place, fleet.api_url, events)
        seconds = wait_until_searchable(place, events) - started
        findings.problems += check_arrived(place, events)
    return len(distinct_valid(events)) / seconds


def _singly(bench: Bench, count: int, findings: Findings) -> float:
    with bench.place() as place, bench.fleet(place) as fleet:
        return _rate(place, f"{fleet.api_url}/v1/events", count, findings, ALL_TABLES)


def _through_peer(bench: Bench, peer: Peer, findings: Findings, _round: int) -> float:
    with bench.place() as place:
        with open_client(place.elasticsearch_url) as client:
            ensure_indices(client, MonthIndices(RECEIVED_AT.date().replace(day=1)))
        port = free_port()
        environment = _environment(bench, place, peer)
        serve = (sys.executable, "-m", "uvicorn", f"{peer.module}:app", "--no-access-log")
        endpoint = Command(
            f"{peer.key}-endpoint",
            (*serve, "--host", HOST, "--port", str(port)),
            environment,
            is_ready=lambda: answers_ok(port, "/readyz"),
        )
        workers = [
            Command(f"{peer.key}-worker-{number}", argv, environment)
            for number, argv in enumerate(peer.workers, 1)
        ]
        with bench.processes([endpoint, *workers]):
            count = peer.events // bench.scope.choose(1, 4)
            return _rate(place, f"http://{HOST}:{port}/v1/events", count, findings, WITHOUT_OUTBOX)


def _rate(place: Place, url: str, count: int, findings: Findings, tables: Collection[str]) -> float:
    warm_up = _warm_up(place, url, min(100, count // 10))
    events = Workload(_WORKLOAD).events(count)
    sent = send(Load(url, place.key, _WORKLOAD, count, _CONNECTIONS))
    seconds = wait_until_searchable(place, warm_up + events) - min(sent.due)
    findings.problems += check_arrived(place, warm_up + events, tables)
    return len(distinct_valid(events)) / seconds


def _warm_up(place: Place, url: str, count: int) -> list[Event]:
    """Send the first events, so that all processes are up and connected before the clock starts; returns them."""
    events = Workload(_WARM_UP).events(count)
    send(Load(url, place.key, _WARM_UP, count, _CONNECTIONS))
    wait_until_searchable(place, events)
    return events


def _environment(bench: Bench, place: Place, peer: Peer) -> Mapping[str, str]:
    environment = bench.environment(place)
    del environment["RQ_WORKER_CLASS"]  # which is ours
    return environment | {
        "BENCH_TENANT_ID": str(place.tenant_id),
        "BENCH_THREADS": str(peer.threads),
        "PYTHONPATH": os.pathsep.join(map(str, (_BENCH, _PROJECT))),
    }
