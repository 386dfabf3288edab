"""Fills the queue to its limits while no worker runs, then lets the workers drain it; reports memory and losses.

``python tests/chaos/queue_memory.py`` starts servers of its own in a temporary folder and removes them. With the
default limits one tenant floods until it is answered 429, others go on until all are answered 503: about a
million events of 450 bytes. Then the workers start, and in the end every acknowledged event must be stored, once.

The last line is a report in JSON; the exit code is 1 if an event was lost, doubled or refused.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import string
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from common.redis import open_redis
from common.tenancy.keys import create_key
from common.tenancy.tenants import create_tenant
from infrastructure.database.migrate import migrate
from infrastructure.local.folder import DataFolder
from infrastructure.local.ports import HOST
from infrastructure.local.process import Command
from infrastructure.local.search import answers_ok
from infrastructure.local.stack import Servers, process_environment
from infrastructure.local.supervisor import Supervisor

MIB = 1024 * 1024
_REQUEST_BYTES = 512 * 1024  # about a thousand events of usual size
_STALLED_SECONDS = 120

_TEXT = "".join(random.Random(1).choices(string.ascii_letters + " ", k=600_000))


@dataclass
class Sender:
    """One tenant's client: sends bulk requests of numbered events, and remembers which were acknowledged."""

    slug: str
    key: str
    port: int
    event_bytes: int
    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    """First number and count of each acknowledged request."""
    _next: int = 0

    def send(self, most_events: int) -> tuple[int, str, int]:
        """Send one request; returns status, problem code and Retry-After (empty and 0 for a 202)."""
        count = max(1, min(most_events, _REQUEST_BYTES // self.event_bytes))
        first = self._next
        body = b"\n".join(self._event(number) for number in range(first, first + count))
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/x-ndjson"}
            connection.request("POST", "/v1/events", body, headers | {"Prefer": "return=minimal"})
            answer = connection.getresponse()
            text = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != http.client.ACCEPTED:
            return answer.status, text["code"], int(answer.headers["Retry-After"])
        if text["accepted"] != count:
            raise RuntimeError(f"{text['accepted']} of {count} events accepted: {text['rejected'][:1]}")
        self.acknowledged.append((first, count))
        self._next += count
        return answer.status, "", 0

    def events(self) -> int:
        return sum(count for _, count in self.acknowledged)

    def _event(self, number: int) -> bytes:
        # From two thirds to four thirds of the size, as events differ.
        size = max(0, self.event_bytes * (2 + number % 3) // 3 - 190)
        start = number * 7919 % (len(_TEXT) - size)
        return (
            f'{{"event_id": "{self.slug}-{number}", "event_type": "purchase", "customer_id": "c-{number % 5000}",'
            f' "occurred_at": "2026-11-21T12:00:00Z",'
            f' "data": {{"amount": "19.90", "currency": "EUR", "note": "{_TEXT[start : start + size]}"}}}}'
        ).encode()


class Peaks(threading.Thread):
    """Watches the server's used_memory, and the resident memory of processes, several times a second."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(daemon=True)
        self._redis = open_redis(redis_url)
        self.pids: dict[str, int] = {}
        self.mebibytes: dict[str, int] = {}
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.2):
            used = self._redis.info("memory")["used_memory"]
            self._note("valkey_used_memory", used)
            for name, pid in list(self.pids.items()):
                self._note(name, _peak_bytes(pid))

    def _note(self, name: str, size: int) -> None:
        self.mebibytes[name] = max(self.mebibytes.get(name, 0), round(size / MIB))


def _peak_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _flood(senders: Sequence[Sender], most_events: int) -> list[str]:
    """The first tenant until it is refused, then the others in turn until all are; returns what was seen."""
    seen: list[str] = []
    for sender in senders:
        while (left := most_events - sum(each.events() for each in senders)) > 0:
            status, code, retry_after = sender.send(left)
            if status != http.client.ACCEPTED:
                told = f"{sender.slug} after {sender.events()} events: {status} {code}, Retry-After {retry_after}"
                _say(told)
                seen.append(f"{status} {code}")
                break
    return seen


def _shed_milliseconds(sender: Sender) -> float:
    """The median time of a request of a tenant that is turned away, its body made and sent."""
    times = []
    for _ in range(20):
        started = time.perf_counter()
        sender.send(sys.maxsize)
        times.append(time.perf_counter() - started)
    return round(sorted(times)[len(times) // 2] * 1000, 1)


def _wait_until_stored(
    connection: psycopg.Connection, expected: int, seconds_for_index: float
) -> dict[str, float]:
    started, last, last_change = time.monotonic(), -1, time.monotonic()
    while (stored := _count(connection, "SELECT count(*) FROM event_keys")) < expected:
        if stored != last:
            last, last_change = stored, time.monotonic()
        if time.monotonic() - last_change > _STALLED_SECONDS:
            break
        _say(f"{stored} of {expected} stored")
        time.sleep(5)
    seconds = time.monotonic() - started
    until = time.monotonic() + seconds_for_index
    pending = "SELECT count(*) FROM outbox WHERE indexed_at IS NULL"
    while (left := _count(connection, pending)) and time.monotonic() < until:
        _say(f"{left} batches to index")
        time.sleep(5)
    return {"seconds_to_store": round(seconds, 1), "batches_not_indexed_yet": left}


def _count(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query).fetchone()  # type: ignore[call-overload]
    return int(row[0])


def _compare(connection: psycopg.Connection, senders: Sequence[Sender]) -> dict[str, int]:
    """Acknowledged events that are not stored; stored ones beyond the acknowledged; refused ones."""
    connection.execute("CREATE TEMPORARY TABLE acknowledged (event_id text)")
    with connection.cursor().copy("COPY acknowledged FROM STDIN") as copy:
        for sender in senders:
            for first, count in sender.acknowledged:
                for number in range(first, first + count):
                    copy.write_row((f"{sender.slug}-{number}",))
    lost = (
        "SELECT count(*) FROM (SELECT event_id FROM acknowledged EXCEPT SELECT event_id FROM events) AS lost"
    )
    return {
        "acknowledged": _count(connection, "SELECT count(*) FROM acknowledged"),
        "lost": _count(connection, lost),
        "doubled": _count(connection, "SELECT count(*) - count(DISTINCT (tenant_id, event_id)) FROM events"),
        "refused": _count(connection, "SELECT count(*) FROM rejected_events"),
    }


def measure(folder: DataFolder, options: argparse.Namespace) -> dict[str, Any]:
    """Run it all on a folder that is held; returns the report."""
    with ExitStack() as stack:
        supervisor = Supervisor(folder, report=_say)
        stack.callback(supervisor.stop)
        servers = Servers(folder)
        servers.start(supervisor)
        database = servers.urls["DATABASE_URL"]
        migrate(database)
        port = folder.port("api")
        inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        limits = dict(setting.split("=", 1) for setting in options.setting)
        environment = process_environment(inherited | limits, servers.urls) | {"PORT": str(port)}

        senders = []
        with psycopg.connect(database, autocommit=True) as connection:
            for number in range(options.tenants):
                slug = f"tenant-{number}"
                create_tenant(connection, slug, slug)
                key = create_key(connection, slug, "load", ["ingest"])
                senders.append(Sender(slug, key, port, options.event_bytes))

            api = Command(
                "api",
                (sys.executable, "-m", "api"),
                environment,
                is_ready=lambda: answers_ok(port, "/readyz"),
            )
            supervisor.start([api])
            peaks = Peaks(servers.urls["REDIS_URL"])
            idle = {"api": round(_peak_bytes(supervisor.pid("api")) / MIB)}
            peaks.pids["api"] = supervisor.pid("api")
            peaks.start()
            stack.callback(peaks.join)
            stack.callback(peaks.done.set)

            started = time.monotonic()
            refusals = _flood(senders, options.events)
            report: dict[str, Any] = {
                "queued_events": sum(sender.events() for sender in senders),
                "seconds_to_queue": round(time.monotonic() - started, 1),
                "refusals": refusals,
                "shed_milliseconds": _shed_milliseconds(senders[0]) if refusals else None,
            }

            rq = str(Path(sys.executable).with_name("rq"))
            names = [("ingest", number) for number in range(options.workers)] + [
                ("index", 0),
                ("maintenance", 0),
            ]
            commands = [
                Command(f"worker-{kind}-{number}", (rq, "worker", kind), environment)
                for kind, number in names
            ]
            supervisor.start(commands)
            peaks.pids |= {command.name: supervisor.pid(command.name) for command in commands}
            report |= _wait_until_stored(connection, report["queued_events"], options.index_seconds)
            report |= _compare(connection, senders)
        return report | {"idle_mebibytes": idle, "peak_mebibytes": peaks.mebibytes}


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main() -> int:
    """Measure and print; 1 if anything was lost, doubled or refused."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--events", type=int, default=2_000_000, help="stop queueing after so many at the latest"
    )
    parser.add_argument("--event-bytes", type=int, default=450, help="mean size of an event")
    parser.add_argument("--tenants", type=int, default=6)
    parser.add_argument("--workers", type=int, default=1, help="ingest workers")
    parser.add_argument(
        "--index-seconds", type=float, default=30, help="how long to wait for the index after storing"
    )
    parser.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the platform's processes",
    )
    options = parser.parse_args()
    path = Path(tempfile.mkdtemp(prefix="sspp-queue-"))
    path.chmod(0o711)  # PostgreSQL runs as an account of its own under root
    folder = DataFolder(path)
    folder.hold()
    try:
        report = measure(folder, options)
    finally:
        folder.release()
        for home in path.rglob("postgres"):
            if home.is_symlink():
                shutil.rmtree(home.resolve(), ignore_errors=True)
        shutil.rmtree(path, ignore_errors=True)
    _say(json.dumps(report))
    return 1 if report["lost"] or report["doubled"] or report["refused"] else 0


if __name__ == "__main__":
    sys.exit(main())
