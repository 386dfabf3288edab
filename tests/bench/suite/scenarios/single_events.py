"""Single-event requests against the limit of the web framework: an endpoint that only parses the body."""

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from common.queue.streams import decode_entry, lane_of
from common.redis import open_redis
from infrastructure.local.ports import HOST, free_port
from infrastructure.local.process import Command
from infrastructure.local.search import answers_ok
from suite.bench import Bench, Place
from suite.events import Event, Workload, distinct_valid
from suite.http_load import Load, send
from suite.measuring import Comparison, Findings, in_turns

_BARE = Path(__file__).parents[1] / "bare_endpoint.py"
_WORKLOAD = "single"
_CONNECTIONS = 64
_STORED_WITHIN_SECONDS = 120


def run(bench: Bench) -> Findings:
    """Compare requests a second, one event each, of the API with those of a bare endpoint.

    The first figure is of the API and Redis, as two cores have no room for workers beside the load; the second one,
    told for information, has all workers storing and indexing meanwhile.
    """
    findings = Findings()
    count = bench.scope.choose(40_000, 15_000)
    events = Workload(_WORKLOAD).events(count)
    peaks: list[float] = []
    costs: dict[str, list[float]] = {"API": [], "bare endpoint": []}

    def alone(_round: int) -> float:
        with bench.place() as place, bench.fleet(place, ingest=0, index=0, maintenance=0) as fleet:
            before = _cpu_seconds(fleet.pids["api"])
            rate = _send(bench, fleet.api_url, place.key, count)
            costs["API"].append((_cpu_seconds(fleet.pids["api"]) - before) / count)
            peaks.append(fleet.peak_mebibytes()["api"])
            findings.problems += _check_lanes(place, events)
            return rate

    def with_workers(_round: int) -> float:
        with bench.place() as place, bench.fleet(place) as fleet:
            rate = _send(bench, fleet.api_url, place.key, count)
            peaks.append(fleet.peak_mebibytes()["api"])
            findings.problems += _check_stored(place, events)
            return rate

    def bare(_round: int) -> float:
        port = free_port()
        environment = dict(os.environ) | {"PORT": str(port), "SSPP_HOST": HOST}
        command = Command(
            "bare-endpoint",
            (sys.executable, str(_BARE)),
            environment,
            is_ready=lambda: answers_ok(port, "/readyz"),
        )
        with bench.processes([command]) as supervisor:
            pid = supervisor.pid("bare-endpoint")
            before = _cpu_seconds(pid)
            rate = _send(bench, f"http://{HOST}:{port}", "none", count)
            costs["bare endpoint"].append((_cpu_seconds(pid) - before) / count)
            return rate

    contenders = {"API": alone, "bare endpoint": bare}
    if not bench.scope.quick:
        contenders["API, workers at work"] = with_workers
    found = in_turns(contenders, bench.rounds, unit="requests/s", note=bench.note)
    remark = f"{count:,} requests of one event, {_CONNECTIONS} connections"
    findings.comparisons.append(
        Comparison(
            "single_events",
            "Single-event requests, durable : a bare FastAPI endpoint",
            found["API"],
            found["bare endpoint"],
            goal=0.7,
            remark=remark,
        )
    )
    if "API, workers at work" in found:
        findings.comparisons.append(
            Comparison(
                "single_events_with_workers",
                "The same while workers store and index : a bare FastAPI endpoint",
                found["API, workers at work"],
                found["bare endpoint"],
                remark=remark,
            )
        )
    findings.figures["API while taking single events, peak resident"] = f"{max(peaks):.0f} MiB"
    for name, seconds in costs.items():
        findings.figures[f"{name}, CPU per request"] = f"{min(seconds) * 1e6:.0f} µs"
    return findings


def _send(bench: Bench, url: str, key: str, count: int) -> float:
    load = Load(f"{url}/v1/events", key, _WORKLOAD, count, _CONNECTIONS, uncounted=count // 20)
    return send(load).per_second


def _check_lanes(place: Place, events: Sequence[Event]) -> list[str]:
    """What is wrong if the queue should hold exactly `events`."""
    lane = lane_of(place.tenant_id)
    with open_redis(place.redis_url) as redis:
        found: Any = redis.xrange(lane)
    queued = Counter(
        record.event_id for name, fields in found for record in decode_entry(lane, name, fields).records
    )
    sent = Counter(event.event_id for event in events)
    if queued == sent:
        return []
    return [
        f"{(sent - queued).total()} accepted events are not queued, {(queued - sent).total()} too many are"
    ]


def _check_stored(place: Place, events: Sequence[Event]) -> list[str]:
    """What is wrong if PostgreSQL should soon hold exactly the valid ones of `events`."""
    expected = {event.event_id for event in distinct_valid(events)}
    stored: set[str] = set()
    deadline = time.monotonic() + _STORED_WITHIN_SECONDS
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        while time.monotonic() < deadline and len(stored) < len(expected):
            time.sleep(0.5)
            stored = {row[0] for row in connection.execute("SELECT event_id FROM events")}
    if stored == expected:
        return []
    return [
        f"{len(expected - stored)} accepted events are not stored, {len(stored - expected)} should not be"
    ]


def _cpu_seconds(pid: int) -> float:
    """The processor time that a process has used so far; only Linux tells."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
