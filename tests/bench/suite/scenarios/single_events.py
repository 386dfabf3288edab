"""Single-event requests against the limit of the web framework: an endpoint that only parses the body."""

import os
import sys
from pathlib import Path

from infrastructure.local.ports import HOST, free_port
from infrastructure.local.process import Command
from infrastructure.local.search import answers_ok
from suite.arrival import wait_until_stored
from suite.bench import Bench, Fleet
from suite.checking import check_queued, check_stored
from suite.events import Workload
from suite.http_load import Load, send
from suite.measuring import Comparison, Findings, in_turns
from suite.usage import cpu_seconds

_BARE = Path(__file__).parents[1] / "bare_endpoint.py"
_WORKLOAD = "single"
_CONNECTIONS = 64


def run(bench: Bench) -> Findings:
    """Compare requests a second, one event each, of the API with those of a bare endpoint.

    The comparison with the goal has no worker at work: the bare endpoint has none either, and two cores have no room
    for them beside the load. The other one, told for information, has all of them storing and indexing meanwhile.
    """
    findings = Findings()
    count = bench.scope.choose(40_000, 15_000)
    events = Workload(_WORKLOAD).events(count)
    peaks: list[float] = []
    costs: dict[str, list[float]] = {"API": [], "bare endpoint": []}

    def note_peak(fleet: Fleet) -> None:
        peaks.extend(peak for name, peak in fleet.peak_mebibytes().items() if name == "api")

    def note_cost(name: str, before: float | None, after: float | None) -> None:
        if before is not None and after is not None:
            costs[name].append((after - before) / count)

    def alone(_round: int) -> float:
        with bench.place() as place, bench.fleet(place, ingest=0, index=0, maintenance=0) as fleet:
            before = cpu_seconds(fleet.pids["api"])
            rate = _send(fleet.api_url, place.key, count)
            note_cost("API", before, cpu_seconds(fleet.pids["api"]))
            note_peak(fleet)
            findings.problems += check_queued(place, events)
            return rate

    def with_workers(_round: int) -> float:
        with bench.place() as place, bench.fleet(place) as fleet:
            rate = _send(fleet.api_url, place.key, count)
            note_peak(fleet)
            wait_until_stored(place, events)
            findings.problems += check_stored(place, {place.tenant_id: events})
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
            before = cpu_seconds(pid)
            rate = _send(f"http://{HOST}:{port}", "none", count)
            note_cost("bare endpoint", before, cpu_seconds(pid))
            return rate

    contenders = {"API, no worker at work": alone, "bare endpoint": bare}
    if not bench.scope.quick:
        contenders["API, workers at work"] = with_workers
    found = in_turns(contenders, bench.rounds, unit="requests/s", note=bench.note)
    remark = f"{count:,} requests of one event, {_CONNECTIONS} connections"
    findings.comparisons.append(
        Comparison(
            "single_events",
            "Single-event requests, durable, no worker at work : a bare FastAPI endpoint",
            found["API, no worker at work"],
            found["bare endpoint"],
            goal=0.7,
            remark=remark,
        )
    )
    if "API, workers at work" in found:
        findings.comparisons.append(
            Comparison(
                "single_events_with_workers",
                "Single-event requests, durable, workers storing and indexing : a bare FastAPI endpoint",
                found["API, workers at work"],
                found["bare endpoint"],
                remark=remark,
                in_chart=True,
            )
        )
    if peaks:
        findings.figures["API while taking single events, peak resident"] = f"{max(peaks):.0f} MiB"
    for name, seconds in costs.items():
        if seconds:
            findings.figures[f"{name}, CPU per request"] = f"{min(seconds) * 1e6:.0f} µs"
    return findings


def _send(url: str, key: str, count: int) -> float:
    load = Load(f"{url}/v1/events", key, _WORKLOAD, count, _CONNECTIONS, uncounted=count // 20)
    return send(load).per_second
