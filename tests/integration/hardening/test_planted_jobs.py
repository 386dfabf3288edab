"""Jobs that somebody else put into Redis: whatever they name, nothing of it runs, and the worker goes on."""

import contextlib
import json
import pickle
import re
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from redis import Redis
from rq import Callback, Queue
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job
from rq.serializers import DefaultSerializer, JSONSerializer
from rq.utils import utcformat
from rq.webhook import Webhook

from common.queue.streams import DEPTH_KEY, Record, encode_entry, lane_of
from common.wakeup import Waker
from worker.own_job import OwnJob, is_job_function

EVENT = {"event_type": "purchase", "customer_id": "c1", "data": {"amount": "1.00", "currency": "USD"}}


class Trap:
    """Leaves a trace when it is unpickled, imported or called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._trace = folder / "sprung"
        (folder / "trap.py").write_text(
            f"open({str(self._trace)!r}, 'a').write('imported')\ndef spring(*_): ...\n"
        )

    def __reduce__(self) -> Any:
        return (Path.touch, (self._trace,))

    @property
    def shell_command(self) -> str:
        return f"touch {self._trace}"

    @property
    def was_sprung(self) -> bool:
        return self._trace.exists()


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path)


def plant(client: Redis, queue: str, job_id: str, data: bytes, **fields: bytes) -> None:
    """A job as an attacker writes it: any bytes at all."""
    now = utcformat(datetime.now(UTC)).encode()
    usual = {"created_at": now, "enqueued_at": now, "status": b"queued", "origin": queue.encode()}
    client.hset(f"rq:job:{job_id}", mapping=usual | {"data": data} | fields)
    client.rpush(f"rq:queue:{queue}", job_id)


def plant_everything(client: Redis, queue: str, trap: Trap) -> int:
    """All kinds of foreign jobs; returns how many."""
    drain = json.dumps(["worker.jobs.drain", None, [queue], {}]).encode()
    command = [trap.shell_command]
    by_json = Queue(queue, connection=client, serializer=JSONSerializer)
    by_json.enqueue("os.system", *command)
    by_json.enqueue("trap.spring")
    by_json.enqueue("worker.jobs.drain", queue, on_failure=Callback("trap.spring"))
    by_json.enqueue("worker.jobs.drain", "nothing", on_failure=Callback("trap.spring"))
    by_json.enqueue("worker.jobs.drain", queue, on_success=Callback("trap.spring"))
    by_json.enqueue("worker.jobs.drain", queue, webhooks=[Webhook("http://127.0.0.1:1/", "finished")])
    Queue(queue, connection=client, serializer=DefaultSerializer).enqueue("os.system", *command)
    plants = {
        "pickled-trap": pickle.dumps(trap),
        "pickled-call": pickle.dumps(("os.system", None, tuple(command), {})),
        "compressed": zlib.compress(json.dumps(["os.system", None, command, {}]).encode()),
        "method": json.dumps(["worker.jobs.drain", "a string", [], {}]).encode(),
        "attribute": json.dumps(["worker.jobs.log.info", None, ["x"], {}]).encode(),
        "imported": json.dumps(["worker.jobs.run_upkeep", None, [], {}]).encode(),
        "no-name": b"[null, null, [], {}]",
        "no-json": b"\xff\xfe\x00",
        "deep": b"[" * 50_000,
        "bomb": zlib.compress(bytes(100_000_000)),
    }
    for job_id, data in plants.items():
        plant(client, queue, job_id, data)
    plant(client, queue, "bad-time", drain, created_at=b"yesterday")
    plant(client, queue, "bad-status", drain, status=b"\xff")
    plant(client, queue, "long", drain, description=b"x" * 1_000_000)
    # One that seems to be left over from a worker that died: RQ calls its failure callback when it tidies up.
    plant(client, queue, "abandoned", drain, failure_callback_name=b"trap.spring")
    client.lrem(f"rq:queue:{queue}", 1, "abandoned")
    client.zadd(f"rq:wip:{queue}", {"abandoned:execution": 1})
    client.rpush(f"rq:queue:{queue}", b"\xff\xfe", "not an id; really")
    return 7 + len(plants) + 3 + 1 + 2


def push_event(client: Redis) -> None:
    raw = json.dumps(EVENT | {"event_id": "e1"}).encode()
    client.xadd(lane_of(1), encode_entry(1, [Record("e1", datetime.now(UTC), raw)]))
    client.hincrby(DEPTH_KEY, lane_of(1), 1)


@pytest.mark.parametrize("queue", ["ingest", "index", "maintenance"])
def test_no_foreign_job_runs_each_is_told_and_counted_and_the_worker_works_on(
    client: Redis,
    trap: Trap,
    start: Callable[..., Any],
    until: Callable[..., Any],
    environment: dict[str, str],
    queue: str,
) -> None:
    planted = plant_everything(client, queue, trap)
    worker = start(queue, PYTHONPATH=str(trap.folder))
    until(lambda: not client.exists(f"rq:queue:{queue}") and refused(worker) >= planted)

    if queue == "ingest":
        push_event(client)
        Waker(client, liveness_seconds=5).enqueue("ingest")
        with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
            until(lambda: connection.execute("SELECT count(*) FROM events").fetchone() == (1,))
    assert worker.process.poll() is None
    assert not trap.was_sprung
    assert refused(worker) == planted
    assert worker.output.count('"event": "job_refused"') == planted
    assert "os.system" in worker.output
    assert not client.exists("rq:job:pickled-trap", "rq:job:abandoned", "rq:job:long")


def refused(worker: Any) -> float:
    found = re.search(r'"host": "(.*?)", "port": (\d+)', worker.output)
    if not found:
        return -1
    metrics = httpx.get(f"http://{found[1]}:{found[2]}/metrics").text
    [count] = re.findall(r"^sspp_jobs_refused_total (\S+)$", metrics, re.MULTILINE)
    return float(count)


def test_a_trap_would_spring_if_rq_were_left_alone(client: Redis, trap: Trap) -> None:
    """What the test above rests on."""
    plant(client, "other", "pickled", pickle.dumps(trap))

    with contextlib.suppress(DeserializationError):  # what came out of it is no job: too late
        Job.fetch("pickled", connection=client).perform()

    assert trap.was_sprung


def test_our_own_jobs_are_read_as_they_were_written(client: Redis) -> None:
    Waker(client, liveness_seconds=5).enqueue("ingest")
    [job_id] = client.lrange("rq:queue:ingest", 0, -1)

    job = OwnJob.fetch(job_id.decode(), connection=client)

    assert (job.func_name, job.args) == ("worker.jobs.drain", ["ingest"])
    with pytest.raises(NoSuchJobError):
        OwnJob.fetch("unknown", connection=client)


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("worker.jobs.drain", True),
        ("worker.jobs.upkeep", True),
        ("worker.jobs.current_worker", False),  # only imported there
        ("worker.jobs.log", False),
        ("worker.jobs.__builtins__", False),
        ("worker.worker.current_worker", False),
        ("os.system", False),
        ("drain", False),
        ("", False),
        (None, False),
        (["worker.jobs.drain"], False),
    ],
)
def test_only_functions_of_the_jobs_module_run(name: object, runs: bool) -> None:
    assert is_job_function(name) == runs
