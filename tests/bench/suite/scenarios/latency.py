"""Latency at light load, against that of a job that does nothing."""

import random
import sys
import time
from collections import deque
from collections.abc import Mapping
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import psycopg
from elasticsearch import Elasticsearch
from rq import Queue

from common.envelope import event_key, signal_id
from common.redis import open_redis
from common.search.template import ALIAS
from infrastructure.local.process import Command
from suite.bench import Bench, Fleet, Place
from suite.events import Workload
from suite.http_load import Load, send
from suite.measuring import Comparison, Contender, Findings, Series, in_turns, percentile
from suite.noop_job import do_nothing
from suite.watching import Watch, searchable, stored

_WORKLOAD = "latency"
_PER_SECOND = 100
_UNHURRIED_JOBS_PER_SECOND = 20
_JOBS_ASKED_AT_ONCE = 4  # one is at work, the others wait
_UNCOUNTED_SECONDS = 2
_JOB_POLL_SECONDS = 0.0005
_STORED_POLL_SECONDS = 0.001
_SEARCHABLE_POLL_SECONDS = 0.05  # each search takes milliseconds of the server's time
_DEFAULT_REFRESH_SECONDS = 1.0
_BENCH = Path(__file__).parents[2]

ACCEPTED, STORED, SEARCHABLE = "POST to 202", "POST to stored", "POST to searchable"
JOB, UNHURRIED_JOB = "RQ no-op job", f"RQ no-op job at {_UNHURRIED_JOBS_PER_SECOND} a second"


def run(bench: Bench) -> Findings:
    """Compare the way of single events, 100 a second, with no-op jobs of RQ's SimpleWorker, enqueued to finished.

    The jobs come as often as the events, and in another turn 20 a second, which SimpleWorker is far from busy with.
    """
    findings = Findings()
    seconds = bench.scope.choose(20, 5)
    taken: dict[str, list[list[float]]] = {
        name: [] for name in (ACCEPTED, STORED, SEARCHABLE, JOB, UNHURRIED_JOB)
    }
    refresh_seconds: list[float] = []

    def ours(number: int) -> float:
        with bench.place() as place, bench.fleet(place) as fleet:
            found, problems = _events(place, fleet, seconds)
            refresh_seconds.append(_refresh_seconds(place))
        findings.problems += problems
        if number:
            for name, latencies in found.items():
                taken[name].append(latencies)
        return 1000 * percentile(found[STORED], 0.95)

    def jobs(name: str, per_second: int) -> Contender:
        def job(number: int) -> float:
            with bench.place() as place:
                latencies = _jobs(bench, place, seconds, per_second)
            if number:
                taken[name].append(latencies)
            return 1000 * percentile(latencies, 0.95)

        return job

    in_turns(
        {
            f"{STORED}, p95": ours,
            f"{JOB}, p95": jobs(JOB, _PER_SECOND),
            f"{UNHURRIED_JOB}, p95": jobs(UNHURRIED_JOB, _UNHURRIED_JOBS_PER_SECOND),
        },
        bench.rounds,
        unit="ms",
        note=bench.note,
    )
    p95 = {name: tuple(1000 * percentile(each, 0.95) for each in taken[name]) for name in taken}
    refresh = 1000 * refresh_seconds[-1]
    findings.comparisons += [
        _against(
            JOB,
            "latency_stored",
            "POST to stored, p95 : a no-op job of SimpleWorker at the same rate, p95",
            p95,
            f"{_PER_SECOND} events or jobs a second, at random",
        ),
        _against(
            UNHURRIED_JOB,
            "latency_stored_unhurried",
            f"POST to stored, p95 : such a job at {_UNHURRIED_JOBS_PER_SECOND} a second, p95",
            p95,
            f"{_PER_SECOND} events a second, {_UNHURRIED_JOBS_PER_SECOND} jobs",
        ),
        Comparison(
            "latency_searchable",
            "POST to searchable, p95 : refresh interval + 5 of the unhurried jobs, p95",
            Series(f"{SEARCHABLE}, p95", "ms", p95[SEARCHABLE]),
            Series(
                f"refresh interval + 5 of {UNHURRIED_JOB}, p95",
                "ms",
                tuple(refresh + 5 * each for each in p95[UNHURRIED_JOB]),
            ),
            goal=1,
            better="lower",
            remark=f"refresh interval {refresh:.0f} ms",
        ),
    ]
    for name, series in taken.items():
        pooled = [1000 * latency for latencies in series for latency in latencies]
        told = ", ".join(f"p{share * 100:.0f} {percentile(pooled, share):.1f}" for share in (0.5, 0.95, 0.99))
        findings.figures[name] = f"{told} ms"
    findings.figures["Resolution of stored, of searchable"] = (
        f"{1000 * _STORED_POLL_SECONDS:.0f} ms, {1000 * _SEARCHABLE_POLL_SECONDS:.0f} ms, each plus one look"
    )
    return findings


def _against(job: str, key: str, title: str, p95: Mapping[str, tuple[float, ...]], remark: str) -> Comparison:
    """What it takes to store an event, against what `job` takes."""
    ours, theirs = (Series(f"{name}, p95", "ms", p95[name]) for name in (STORED, job))
    return Comparison(key, title, ours, theirs, goal=1, better="lower", remark=remark)


def _events(place: Place, fleet: Fleet, seconds: int) -> tuple[dict[str, list[float]], list[str]]:
    """Send events, and the seconds that they took to be accepted, stored and searchable; and what is wrong."""
    uncounted = _UNCOUNTED_SECONDS * _PER_SECOND
    count = uncounted + seconds * _PER_SECOND
    load = Load(
        f"{fleet.api_url}/v1/events",
        place.key,
        _WORKLOAD,
        count,
        uncounted=uncounted,
        per_second=_PER_SECOND,
        all_new=True,
    )
    events = Workload(_WORKLOAD, duplicates=False, refused=False).events(count)
    keys = [event_key(place.tenant_id, event.event_id) for event in events]
    ids = [
        signal_id(key, 0)
        for key, event in zip(keys, events, strict=True)
        if b'"customer_updated"' not in event.raw  # such an event is no signal
    ]
    with (
        psycopg.connect(place.database_url, autocommit=True) as connection,
        Elasticsearch(place.elasticsearch_url) as client,
    ):
        watches = {
            # Some 100 milliseconds' worth of events, and two seconds' worth.
            STORED: Watch(keys, stored(connection), _STORED_POLL_SECONDS, at_once=_PER_SECOND // 10),
            SEARCHABLE: Watch(ids, searchable(client), _SEARCHABLE_POLL_SECONDS, at_once=2 * _PER_SECOND),
        }
        for watch in watches.values():
            watch.start()
        sent = send(load)
        missing = {name: watch.finish() for name, watch in watches.items()}
    due = dict(zip(keys[uncounted:], sent.due, strict=True))
    due |= {signal_id(key, 0): instant for key, instant in due.items()}
    found = {
        name: [instant - due[each] for each, instant in watch.seen.items() if each in due]
        for name, watch in watches.items()
    }
    found[ACCEPTED] = [answered - began for began, answered in zip(sent.due, sent.answered, strict=True)]
    return found, [f"{number} never came: {name}" for name, number in missing.items() if number]


def _jobs(bench: Bench, place: Place, seconds: int, per_second: int) -> list[float]:
    """Enqueue no-op jobs when they fall due, and the seconds from then until each is seen to be finished.

    They fall due like the events, at random: Poisson arrivals, whatever became of the earlier ones.
    """
    environment = bench.environment(place) | {"PYTHONPATH": str(_BENCH)}
    del environment["RQ_WORKER_CLASS"]  # the documented option names the class
    worker = Command(
        "rq-noop",
        (
            str(Path(sys.executable).with_name("rq")),
            "worker",
            "--worker-class",
            "rq.worker.SimpleWorker",
            "bench-noop",
        ),
        environment,
    )
    chance = random.Random(per_second)
    count = (seconds + _UNCOUNTED_SECONDS) * per_second
    pauses = (chance.expovariate(per_second) for _ in range(count))
    taken: list[float] = []
    with bench.processes([worker]), open_redis(place.redis_url) as redis:
        queue = Queue("bench-noop", connection=redis)
        begun = time.monotonic()
        due = deque(begun + offset for offset in accumulate(pauses))
        unfinished: dict[str, float] = {}
        while due or unfinished:
            while due and due[0] <= time.monotonic():
                instant = due.popleft()
                unfinished[queue.enqueue(do_nothing).key] = instant
            oldest = list(islice(unfinished, _JOBS_ASKED_AT_ONCE))
            statuses: Any = redis.pipeline(transaction=False)
            for key in oldest:
                statuses.hget(key, "status")
            found = statuses.execute()
            now = time.monotonic()
            for key, status in zip(oldest, found, strict=True):
                if status == b"finished":
                    taken.append(now - unfinished.pop(key))
            time.sleep(_JOB_POLL_SECONDS)
    return taken[_UNCOUNTED_SECONDS * per_second :]


def _refresh_seconds(place: Place) -> float:
    """The refresh interval of the indices: the server's default unless they have one of their own."""
    with Elasticsearch(place.elasticsearch_url) as client:
        settings = client.indices.get_settings(index=ALIAS, flat_settings=True).body.values()
    given = [index["settings"].get("index.refresh_interval") for index in settings]
    return max(float(each.removesuffix("s")) if each else _DEFAULT_REFRESH_SECONDS for each in given)
