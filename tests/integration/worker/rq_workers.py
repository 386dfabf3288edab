"""What the tests of worker processes share: the process, work for it, and ways to see what became of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis

from common.queue.streams import DEPTH_KEY, Record, encode_entry, lane_of

# What Kubernetes grants a process between SIGTERM and SIGKILL.
GRACE_SECONDS = 30
# Within which what a dead process left is taken over.
RECOVERY_SECONDS = 15

_EVENT = {"event_type": "purchase", "customer_id": "c1", "data": {"amount": "1.00", "currency": "USD"}}


class RqWorker(subprocess.Popen[bytes]):
    """`rq worker` as the documentation has it, with its log in a file."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log_path: Path) -> None:
        self.log_path = log_path
        rq = Path(sys.executable).with_name("rq")
        variables = {"PATH": os.environ["PATH"], "LOG_FORMAT": "json", **environment}
        with log_path.open("w") as log:
            super().__init__([rq, "worker", *arguments], env=variables, stdout=log, stderr=subprocess.STDOUT)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        lines = self.log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logged(self, event: str) -> dict[str, Any] | None:
        """The first line of that name, if there is one by now."""
        return next((line for line in self.lines() if line["event"] == event), None)

    def count(self, event: str) -> int:
        return sum(line["event"] == event for line in self.lines())


def push(client: Redis, *ids: str) -> None:
    """Queue an entry with an event under each id."""
    records = [
        Record(each, datetime.now(UTC), json.dumps(_EVENT | {"event_id": each}).encode()) for each in ids
    ]
    client.xadd(lane_of(1), encode_entry(1, records))
    client.hincrby(DEPTH_KEY, lane_of(1), len(records))


def stored(url: str) -> int:
    """How many events the database holds."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM events").fetchone()
    assert row
    return int(row[0])


def taken(client: Redis) -> int:
    """How many entries of the tenant's lane a drain has in hand."""
    groups = client.xinfo_groups(lane_of(1)) if client.exists(lane_of(1)) else []
    return sum(group["pending"] for group in groups)


def idle(client: Redis, queue: str = "ingest") -> bool:
    """Whether all workers of the queue wait for a wake-up."""
    names = client.smembers(f"rq:workers:{queue}")
    return bool(names) and all(client.hget(name, "state") == b"idle" for name in names)


@contextmanager
def storing_held_up(url: str) -> Iterator[None]:
    """No batch can be stored while the context lasts."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE event_keys IN SHARE MODE")
        yield


def living_drains(client: Redis) -> list[bytes]:
    return list(client.scan_iter("sspp:drain:*"))
