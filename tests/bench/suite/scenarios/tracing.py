"""What traces cost: single-event requests, and the storing of their events, without traces, with some, with all."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import httpx

from infrastructure.local.ports import HOST, free_port
from infrastructure.local.process import Command
from infrastructure.local.search import answers_ok
from suite.arrival import wait_until_stored
from suite.bench import Bench
from suite.checking import check_queued, check_stored
from suite.events import Workload
from suite.http_load import Load, send
from suite.measuring import Comparison, Findings, in_turns
from suite.usage import cpu_seconds

_COLLECTOR = Path(__file__).parents[1] / "bare_collector.py"
_WORKLOAD = "tracing"
_CONNECTIONS = 64
_SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
_OFF = "traces off"
_KINDS: Mapping[str, Mapping[str, str] | None] = {
    _OFF: None,
    "1 % recorded": _SAMPLED,
    "all recorded": {"OTEL_TRACES_SAMPLER": "parentbased_always_on"},
}


def run(bench: Bench) -> Findings:
    """Compare requests a second, one event each, of APIs that trace with those of one that does not.

    No worker is at work meanwhile; an ingest worker of the same settings then stores what was queued, of which only its
    processor time is told. The collector's own time is the machine's, too: it has the same two cores.
    """
    findings = Findings()
    count = bench.scope.choose(40_000, 10_000)
    events = Workload(_WORKLOAD).events(count)
    costs: dict[str, list[float]] = {}

    def note_cost(process: str, kind: str, before: float | None, after: float | None) -> None:
        if before is not None and after is not None:
            costs.setdefault(f"{process}, {kind}, CPU per event", []).append((after - before) / count)

    def measure(kind: str, _round: int) -> float:
        sampling = _KINDS[kind]
        with bench.place() as place, _collector(bench) as collector:
            settings = (
                dict(sampling, SSPP_TRACING="true", OTEL_EXPORTER_OTLP_ENDPOINT=collector) if sampling else {}
            )
            with bench.fleet(place, ingest=0, index=0, maintenance=0, settings=settings) as fleet:
                before = cpu_seconds(fleet.pids["api"])
                load = Load(
                    f"{fleet.api_url}/v1/events", place.key, _WORKLOAD, count, _CONNECTIONS, count // 20
                )
                rate = send(load).per_second
                note_cost("API", kind, before, cpu_seconds(fleet.pids["api"]))
                findings.problems += check_queued(place, events)
            with bench.fleet(place, index=0, maintenance=0, settings=settings) as fleet:
                wait_until_stored(place, events)
                # From nothing: its start is the same for all of them.
                note_cost("ingest worker", kind, 0.0, cpu_seconds(fleet.pids["worker-ingest-1"]))
            findings.problems += check_stored(place, {place.tenant_id: events})
            received = int(httpx.get(collector, trust_env=False).text)
            if (received > 0) != bool(sampling):
                findings.problems.append(f"{kind}: the collector was sent {received:,} bytes")
            return rate

    contenders = {kind: partial(measure, kind) for kind in _KINDS}
    found = in_turns(contenders, bench.rounds, unit="requests/s", note=bench.note)
    for kind in _KINDS:
        if kind != _OFF:
            findings.comparisons.append(
                Comparison(
                    f"tracing_{kind.partition(' ')[0]}",
                    f"Single-event requests, durable, no worker at work, {kind} : traces off",
                    found[kind],
                    found[_OFF],
                    remark=f"{count:,} requests of one event, {_CONNECTIONS} connections",
                )
            )
    findings.figures |= {name: f"{median(each) * 1e6:.0f} µs" for name, each in costs.items()}
    return findings


@contextmanager
def _collector(bench: Bench) -> Iterator[str]:
    """The URL of a collector while the context lasts."""
    port = free_port()
    environment = dict(os.environ) | {"PORT": str(port), "SSPP_HOST": HOST}
    command = Command(
        "collector",
        (sys.executable, str(_COLLECTOR)),
        environment,
        is_ready=lambda: answers_ok(port, "/readyz"),
    )
    with bench.processes([command]):
        yield f"http://{HOST}:{port}"
