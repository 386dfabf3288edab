"""The store stage against the limit of the database: a bare COPY of the very rows that it stores."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.types.string import TextLoader

from common.redis import open_redis
from suite.bench import Bench, Place
from suite.checking import COPIED, check_stored
from suite.events import Event, Workload, distinct_valid
from suite.measuring import Comparison, Findings, in_turns
from suite.queueing import queue_events

_TABLES = {
    "event_keys": "SELECT k.* FROM event_keys AS k JOIN events AS e USING (event_key) WHERE e.batch_id = {batch}"
    " ORDER BY event_key",
    "events": "SELECT * FROM events WHERE batch_id = {batch}",
    "signals": "SELECT s.* FROM signals AS s JOIN events AS e USING (tenant_id, event_id, received_at)"
    " WHERE e.batch_id = {batch}",
}
Rows = TypeVar("Rows")
_DRAIN = Path(__file__).parents[1] / "drain_queue.py"
RECEIVED_AT = datetime.now(UTC)
"""When all events were received: within the partition of the present month."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What it took to drain a queue; the processor's time is that of the worker, for each event that was queued."""

    events_per_second: float
    cpu_microseconds: float
    batches: int
    peak_mebibytes: float


def run(bench: Bench) -> Findings:
    """Compare events stored per second by one ingest worker with those by COPY alone, in the same batches."""
    findings = Findings()
    count = bench.scope.choose(60_000, 24_000)
    events = Workload("store").events(count)
    stored = len(distinct_valid(events))
    with bench.place() as place:
        drain(bench, place, events)
        _analyze(place)
        batches = _export(place)
        rows = _rows(place)
    drains: list[Drained] = []

    def ours(_round: int) -> float:
        with bench.place() as place:
            drains.append(drain(bench, place, events))
            findings.problems += check_stored(place, {place.tenant_id: events})
            return drains[-1].events_per_second

    def bare(_round: int) -> float:
        with bench.place() as place:
            seconds = _copy(place, batches, _write_encoded)
            findings.problems += check_stored(place, {place.tenant_id: events}, COPIED)
            return stored / seconds

    def from_rows(_round: int) -> float:
        with bench.place() as place:
            seconds = _copy(place, rows, _write_rows)
            findings.problems += check_stored(place, {place.tenant_id: events}, COPIED)
            return stored / seconds

    found = in_turns(
        {"store stage": ours, "bare COPY": bare, "COPY of Python's rows": from_rows},
        bench.rounds,
        unit="events stored/s",
        note=bench.note,
    )
    findings.comparisons.append(
        Comparison(
            "store_stage",
            "Store stage, one worker : bare COPY of the same rows, encoded beforehand",
            found["store stage"],
            found["bare COPY"],
            goal=0.6,
            remark=f"{count:,} events, {len(batches)} batches; the worker's stage alone, no RQ or housekeeping",
        )
    )
    findings.comparisons.append(
        Comparison(
            "store_stage_of_rows",
            "Store stage, one worker : COPY of the same rows, from Python's values",
            found["store stage"],
            found["COPY of Python's rows"],
            remark="psycopg's write_row, as its documentation shows it",
        )
    )
    peak, cpu = max(each.peak_mebibytes for each in drains), min(each.cpu_microseconds for each in drains)
    findings.figures["ingest worker while storing, peak resident"] = f"{peak:.0f} MiB"
    findings.figures["ingest worker while storing, CPU per event"] = f"{cpu:.0f} µs"
    return findings


def drain(
    bench: Bench, place: Place, events: Sequence[Event], *, received_at: datetime = RECEIVED_AT
) -> Drained:
    """Queue `events` and have one worker process store them; the rate counts distinct valid events."""
    with open_redis(place.redis_url) as redis:
        queue_events(redis, place.tenant_id, events, received_at)
    log = bench.folder.logs / "drain.log"
    with log.open("ab") as output:
        subprocess.run([sys.executable, str(_DRAIN)], env=bench.environment(place), stdout=output, check=True)
    told = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return Drained(
        len(distinct_valid(events)) / told["seconds"],
        1e6 * told["cpu_seconds"] / len(events),
        told["batches"],
        told["peak_mebibytes"],
    )


def _analyze(place: Place) -> None:
    """Without it the joins of `_TABLES` get plans for empty tables, which take half a minute."""
    with psycopg.connect(place.database_url) as connection:
        connection.execute("ANALYZE events, signals, event_keys")


def _export(place: Place) -> list[dict[str, bytes]]:
    """The rows of each batch as COPY wants them, by table."""
    with psycopg.connect(place.database_url) as connection:
        ids = [row[0] for row in connection.execute("SELECT DISTINCT batch_id FROM events ORDER BY batch_id")]
        return [
            {table: _copied(connection, query.format(batch=batch)) for table, query in _TABLES.items()}
            for batch in ids
        ]


def _copied(connection: psycopg.Connection, query: str) -> bytes:
    with connection.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:  # type: ignore[arg-type]
        return b"".join(bytes(block) for block in copy)


def _rows(place: Place) -> list[dict[str, list[tuple[Any, ...]]]]:
    """The same rows as values of Python's; a jsonb is its text."""
    with psycopg.connect(place.database_url) as connection:
        connection.adapters.register_loader("jsonb", TextLoader)
        ids = [row[0] for row in connection.execute("SELECT DISTINCT batch_id FROM events ORDER BY batch_id")]
        return [
            {
                table: connection.execute(query.format(batch=batch)).fetchall()
                for table, query in _TABLES.items()
            }  # type: ignore[arg-type]
            for batch in ids
        ]


def _write_encoded(cursor: psycopg.Cursor, table: str, rows: bytes) -> None:
    """Send rows that are in COPY's binary format already."""
    with cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:  # type: ignore[arg-type]
        copy.write(rows)


def _write_rows(cursor: psycopg.Cursor, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Send rows of Python's values, in COPY's default format."""
    with cursor.copy(f"COPY {table} FROM STDIN") as copy:  # type: ignore[arg-type]
        for row in rows:
            copy.write_row(row)


def _copy(
    place: Place,
    batches: Sequence[Mapping[str, Rows]],
    write: Callable[[psycopg.Cursor, str, Rows], None],
) -> float:
    with psycopg.connect(place.database_url) as connection, connection.cursor() as cursor:
        started = time.perf_counter()
        for batch in batches:
            for table, rows in batch.items():
                write(cursor, table, rows)
            connection.commit()
        return time.perf_counter() - started
