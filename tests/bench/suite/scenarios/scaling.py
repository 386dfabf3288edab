"""More ingest workers against one, on a store that makes each of them wait: does adding processes add throughput?

On a machine of two cores workers would soon wait for the processor, so PostgreSQL is made slow instead, as a network or
a busy disk might make it: 60 ms a batch, and batches so small that this is most of their time (with 20 ms, four workers
take both cores). A quarter goes before identities, a quarter before raw events and a quarter before signals are
written, and the last one after customers are, while their rows are locked: workers whose batches share a customer do
wait for each other.
"""

import time
from collections.abc import Sequence
from functools import partial

import psycopg

from common.queue.streams import depth
from common.redis import open_redis
from common.tenancy.tenants import create_tenant
from common.wakeup import Waker
from infrastructure.database.connections import connect
from suite.bench import Bench, Place
from suite.checking import check_stored
from suite.events import Event, Workload
from suite.measuring import Comparison, Findings, in_turns
from suite.queueing import queue_events
from suite.scenarios.store_stage import RECEIVED_AT

_TENANTS = 8
_BATCH_EVENTS = 50
_SLOW_DOWN = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.015); RETURN NULL; END $$;
CREATE TRIGGER wait BEFORE INSERT ON event_keys FOR EACH STATEMENT EXECUTE FUNCTION wait();
CREATE TRIGGER wait BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION wait();
CREATE TRIGGER wait BEFORE INSERT ON signals FOR EACH STATEMENT EXECUTE FUNCTION wait();
CREATE TRIGGER wait AFTER INSERT ON customers FOR EACH STATEMENT EXECUTE FUNCTION wait();
"""
_RAMP_UP_SECONDS = 5.0
"""Workers wake each other one after the other; until then it is fewer of them."""
_MOST_SECONDS = 120


def run(bench: Bench) -> Findings:
    """Compare signals a second that 2 and 4 workers store with those of one, from when all are awake."""
    findings = Findings()
    events_each = bench.scope.choose(12_000, 8_000) // _TENANTS
    fleets = {f"{workers} workers" if workers > 1 else "1 worker": workers for workers in (1, 2, 4)}
    found = in_turns(
        {name: partial(_rate, bench, findings, events_each, workers) for name, workers in fleets.items()},
        bench.scope.choose(3, 1),
        unit="signals stored/s",
        note=bench.note,
        warm_up=False,
    )
    for workers, goal in ((2, 1.8), (4, 3.4)):
        findings.comparisons.append(
            Comparison(
                f"scaling_{workers}",
                f"{workers} ingest workers : 1, on a store that adds 60 ms to each batch",
                found[f"{workers} workers"],
                found["1 worker"],
                goal=goal,
                remark=f"60 ms a batch rather than 20, with which 4 workers take both cores;"
                f" batches of {_BATCH_EVENTS} events, {_TENANTS} tenants",
            )
        )
    return findings


def _rate(bench: Bench, findings: Findings, events_each: int, workers: int, _round: int) -> float:
    with bench.place() as place:
        sent = _queue(place, events_each * workers)
        settings = {"SSPP_BATCH_EVENTS": str(_BATCH_EVENTS)}
        with bench.fleet(place, ingest=workers, index=0, maintenance=0, settings=settings):
            _wait_until_stored(place)
        findings.problems += check_stored(place, sent)
        return _steady_rate(place)


def _queue(place: Place, events_each: int) -> dict[int, list[Event]]:
    """Slow `place` down and fill its queue, for several tenants; returns their events."""
    sent: dict[int, list[Event]] = {}
    with connect(place.database_url) as connection, open_redis(place.redis_url) as redis:
        connection.execute(_SLOW_DOWN)
        for number in range(_TENANTS):
            tenant = create_tenant(connection, f"scaling-{number}", f"Scaling {number}")
            events = sent[tenant.tenant_id] = Workload(f"scaling-{number}").events(events_each)
            queue_events(redis, tenant.tenant_id, events, RECEIVED_AT, entry_events=_BATCH_EVENTS // _TENANTS)
        connection.commit()
        Waker(redis, liveness_seconds=60).wake("ingest")
    return sent


def _wait_until_stored(place: Place) -> None:
    deadline = time.monotonic() + _MOST_SECONDS
    with open_redis(place.redis_url) as redis:
        while sum(depth(redis).values()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the queue is not empty after {_MOST_SECONDS} s")
            time.sleep(0.2)


def _steady_rate(place: Place) -> float:
    """Signals a second, by the instants at which the transactions of the batches began."""
    with psycopg.connect(place.database_url) as connection:
        batches: Sequence[tuple[float, int]] = connection.execute(
            "SELECT extract(epoch FROM created_at)::float8, sum(cardinality(signal_ids))::bigint"
            " FROM outbox GROUP BY created_at ORDER BY created_at"
        ).fetchall()
    begin, end = batches[0][0] + _RAMP_UP_SECONDS, batches[-1][0]
    if end <= begin:
        raise RuntimeError("all was stored before all workers were awake: there is nothing to measure")
    return sum(signals for at, signals in batches if begin <= at < end) / (end - begin)
