"""Whether the platform stays fast as it fills: storing and reading with 10 million signals there."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import psycopg

from common.redis import open_redis
from suite.asking import QUERIES
from suite.bench import Bench, Place
from suite.checking import check_stored, look_at_customers
from suite.events import CUSTOMERS, Event, Workload
from suite.history import MONTHS_BEFORE, customer_id, fill
from suite.measuring import Comparison, Findings, Series, in_turns
from suite.reading import check_plans, p95s
from suite.scenarios.store_stage import drain

_SMALLER = 100  # what queries are compared with has as many signals less


def run(bench: Bench) -> Findings:
    """Compare the store stage's rate with that on an empty database, and queries with those on a hundredth."""
    findings = Findings()
    signals = bench.scope.choose(10_000_000, 1_000_000)
    with _filled(bench, signals) as large:
        with psycopg.connect(large.database_url) as connection:
            size = connection.execute(
                "SELECT pg_size_pretty(pg_database_size(current_database()))"
            ).fetchone()
        findings.figures[f"database with {signals:,} signals"] = size[0] if size else ""
        _compare_reading(bench, large, signals, findings)
        _compare_storing(bench, large, signals, findings)
    return findings


@contextmanager
def _filled(bench: Bench, signals: int) -> Iterator[Place]:
    with bench.place() as place:
        bench.note(f"making {signals:,} signals")
        fill(place, signals, datetime.now(UTC))
        yield place


def _compare_storing(bench: Bench, large: Place, signals: int, findings: Findings) -> None:
    """Store so many events in each turn as a steady flow has between two checkpoints.

    A turn begins right after one, and pages are logged in whole when they first change after it: with fewer events, as
    a quick look has them, each bears more of that than in a steady flow.
    """
    rounds, count = bench.scope.choose(3, 2), bench.scope.choose(480_000, 24_000)
    made: dict[int, list[Event]] = {}
    customers = [customer_id(number) for number in range(CUSTOMERS)]

    def events(number: int) -> list[Event]:  # of one round at a time: some 300 MB
        if number not in made:
            made.clear()
            made[number] = Workload(f"growth-{number}").events(count)
        return made[number]

    def empty(number: int) -> float:
        with bench.place() as place:
            rate = drain(bench, place, events(number), received_at=datetime.now(UTC)).events_per_second
            findings.problems += check_stored(place, {place.tenant_id: events(number)})
            return rate

    def filled(number: int) -> float:
        nonlocal before
        _settle(large)
        received_at = datetime.now(UTC)
        before = replace(before, since=received_at)
        rate = drain(bench, large, events(number), received_at=received_at).events_per_second
        findings.problems += check_stored(large, {large.tenant_id: events(number)}, before=before)
        before = look_at_customers(large, customers)
        return rate

    before = look_at_customers(large, customers)
    found = in_turns({"filled": filled, "empty": empty}, rounds, unit="events stored/s", note=bench.note)
    findings.comparisons.append(
        Comparison(
            "growth",
            f"Store stage with {signals:,} signals : on an empty database",
            found["filled"],
            found["empty"],
            goal=0.85,
            remark=f"{count:,} events a turn, from a checkpoint on; {signals // 2:,} signals in the month's partition,"
            f" {MONTHS_BEFORE} months before it",
        )
    )


def _compare_reading(bench: Bench, large: Place, signals: int, findings: Findings) -> None:
    rounds, runs = bench.scope.choose(3, 2), bench.scope.choose(150, 60)
    now = datetime.now(UTC)
    with _filled(bench, signals // _SMALLER) as small:
        sizes = {
            "large": (large, signals),
            "small": (small, signals // _SMALLER),
        }  # ours, and what it is compared with
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in sizes}
        for place, count in sizes.values():
            findings.problems += check_plans(place, count, now)
        for number in range(rounds + 1):
            for name in list(sizes) if number % 2 else reversed(sizes):
                place, count = sizes[name]
                found, problems = p95s(place, count, now, runs, number)
                findings.problems += problems
                if number:
                    figures[name].append(found)
    compared = {query.name: _grown(query.name, sizes, figures) for query in QUERIES}
    for name, each in compared.items():
        findings.figures[f"query: {name}"] = (
            f"{each.ratio:.2f} (p95 {each.ours.median:.2f} ms : {each.theirs.median:.2f} ms)"
        )
    findings.comparisons.append(max(compared.values(), key=lambda each: each.ratio))


def _grown(
    query: str, sizes: Mapping[str, tuple[Place, int]], figures: Mapping[str, Sequence[Mapping[str, float]]]
) -> Comparison:
    ours, theirs = (
        Series(f"{signals:,} signals", "ms", tuple(each[query] for each in figures[name]))
        for name, (_, signals) in sizes.items()
    )
    return Comparison(
        "growth_queries",
        f"Queries: p95 of the one that grows most ({query}) : with a hundredth of the signals",
        ours,
        theirs,
        goal=3.0,
        better="lower",
    )


def _settle(place: Place) -> None:
    """What `Bench.place` does for a new one."""
    with open_redis(place.redis_url) as redis:
        redis.flushall()
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
