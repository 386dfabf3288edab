"""Latency at light load, against that of a job that does nothing."""

from collections.abc import Callable, Mapping
from functools import partial
from uuid import UUID

import psycopg
from elasticsearch import Elasticsearch

from common.envelope import event_key, signal_id
from common.search.template import ALIAS
from suite.amounts import signal_ids
from suite.bench import Bench, Fleet, Place
from suite.checking import check_arrived
from suite.events import Workload
from suite.http_load import Load, send
from suite.measuring import Comparison, Contender, Findings, Series, in_turns, percentile
from suite.noop_jobs import UNCOUNTED_SECONDS, at_random, one_at_a_time
from suite.watching import Watch, searchable, stored

_WORKLOAD = "latency"
_PER_SECOND = 100
_STORED_POLL_SECONDS = 0.001
_SEARCHABLE_POLL_SECONDS = 0.05  # each search takes milliseconds of the server's time
_DEFAULT_REFRESH_SECONDS = 1.0

ACCEPTED, STORED, SEARCHABLE = "POST to 202", "POST to stored", "POST to searchable"
JOB, JOB_SAME_RATE = "RQ no-op job, one at a time", f"RQ no-op jobs, {_PER_SECOND} a second"


def run(bench: Bench) -> Findings:
    """Compare the way of single events, 100 a second at random, with a job that does nothing in RQ's SimpleWorker.

    The goals go by jobs of which there is one at a time, from the call that enqueues it until it is finished. For
    information there are also such jobs that fall due like the events, from then on: they wait for each other.
    """
    findings = Findings()
    seconds = bench.scope.choose(20, 5)
    taken: dict[str, list[list[float]]] = {
        name: [] for name in (ACCEPTED, STORED, SEARCHABLE, JOB, JOB_SAME_RATE)
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

    def jobs(name: str, measure: Callable[[Bench, Place, int], list[float]]) -> Contender:
        def job(number: int) -> float:
            with bench.place() as place:
                latencies = measure(bench, place, seconds)
            if number:
                taken[name].append(latencies)
            return 1000 * percentile(latencies, 0.95)

        return job

    in_turns(
        {
            f"{STORED}, p95": ours,
            f"{JOB}, p95": jobs(JOB, one_at_a_time),
            f"{JOB_SAME_RATE}, p95": jobs(JOB_SAME_RATE, partial(at_random, per_second=_PER_SECOND)),
        },
        bench.rounds,
        unit="ms",
        note=bench.note,
    )
    p95 = {name: tuple(1000 * percentile(each, 0.95) for each in taken[name]) for name in taken}
    refresh = 1000 * refresh_seconds[-1]
    findings.comparisons += [
        _lower(
            "latency_stored",
            "POST to stored, p95 : a no-op job of SimpleWorker, one at a time, p95",
            _series(STORED, p95),
            _series(JOB, p95),
            goal=1,
            remark=f"{_PER_SECOND} events a second, at random",
        ),
        _lower(
            "latency_stored_same_rate",
            f"POST to stored, p95 : no-op jobs of SimpleWorker, also {_PER_SECOND} a second, p95",
            _series(STORED, p95),
            _series(JOB_SAME_RATE, p95),
        ),
        _lower(
            "latency_searchable",
            "POST to searchable, p95 : refresh interval + 5 no-op jobs, one at a time, p95",
            _series(SEARCHABLE, p95),
            Series(
                f"refresh interval + 5 of {JOB}, p95", "ms", tuple(refresh + 5 * each for each in p95[JOB])
            ),
            goal=1,
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


def _series(name: str, p95: Mapping[str, tuple[float, ...]]) -> Series:
    return Series(f"{name}, p95", "ms", p95[name])


def _lower(
    key: str, title: str, ours: Series, theirs: Series, goal: float | None = None, remark: str = ""
) -> Comparison:
    return Comparison(key, title, ours, theirs, goal=goal, better="lower", remark=remark, in_chart=True)


def _events(place: Place, fleet: Fleet, seconds: int) -> tuple[dict[str, list[float]], list[str]]:
    """Send events, and the seconds that they took to be accepted, stored and searchable; and what is wrong."""
    uncounted = UNCOUNTED_SECONDS * _PER_SECOND
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
    ids = [UUID(each) for each in signal_ids({place.tenant_id: events})]
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
    late = [f"{number} never came: {name}" for name, number in missing.items() if number]
    return found, late + check_arrived(place, events)


def _refresh_seconds(place: Place) -> float:
    """The refresh interval of the indices: the server's default unless they have one of their own."""
    with Elasticsearch(place.elasticsearch_url) as client:
        settings = client.indices.get_settings(index=ALIAS, flat_settings=True).body.values()
    given = [index["settings"].get("index.refresh_interval") for index in settings]
    return max(float(each.removesuffix("s")) if each else _DEFAULT_REFRESH_SECONDS for each in given)
