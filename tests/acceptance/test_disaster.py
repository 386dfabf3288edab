"""What docs/howto/recover_from_disaster.md says, done: stores are lost while events come in, and come back as promised.

SSPP_DISASTER_EVENTS=200000 makes it as large as one likes; SSPP_DISASTER_REPORT names a file that is told how long
each step took.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
import pytest
from black_box import Platform, purchase
from starting import ROOT, Starter, read_environment

Until = Callable[..., Any]

EVENTS = int(os.environ.get("SSPP_DISASTER_EVENTS", "5000"))
BATCH = 50
PATIENCE_SECONDS = 120 + EVENTS / 500

_HOWTO = (ROOT / "docs/howto/recover_from_disaster.md").read_text(encoding="utf-8")
# What it has psql ask the former database.
_SINCE = _HOWTO.partition('-c "')[2].partition('"')[0]

pytestmark = pytest.mark.timeout(600 + EVENTS / 50)


@pytest.fixture
def starter() -> Iterator[Starter]:
    made = Starter()
    yield made
    made.stop()


@pytest.fixture
def platform(starter: Starter) -> Iterator[Platform]:
    with closing(Platform(starter.folder, read_environment(starter.folder / "env"))) as made:
        yield made


@pytest.fixture
def demo(platform: Platform) -> Iterator[httpx.Client]:
    with platform.client(platform.environment["SSPP_API_KEY"]) as api:
        yield api


class Sender:
    """Sends events without a pause, and keeps what was acknowledged, as good senders do for some minutes."""

    def __init__(self, api: httpx.Client) -> None:
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self._api = api
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def send(self, *events: dict[str, Any]) -> None:
        """Send until it is acknowledged: no answer says nothing."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                answer = self._api.post("/v1/events", json=events)
                if answer.status_code == httpx.codes.ACCEPTED:
                    assert not answer.json()["rejected"]
                    self.acknowledged |= {event["event_id"]: event for event in events}
                    return
            time.sleep(0.1)
        pytest.fail("nobody takes events")

    def send_again(self) -> None:
        events = list(self.acknowledged.values())
        for start in range(0, len(events), 500):
            self.send(*events[start : start + 500])

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            self.send(*(purchase(f"live-{number + each}", f"c-{each}") for each in range(BATCH)))
            number += BATCH
            time.sleep(0.02)  # no test of throughput: others run beside it


class Timed:
    """Runs commands, and keeps how long they took."""

    def __init__(self, platform: Platform, store: Path) -> None:
        self._platform = platform
        self._store = store
        self.seconds: dict[str, float] = {}

    def sspp(self, *arguments: str) -> str:
        started = time.monotonic()
        done = subprocess.run(
            [self._platform.program("sspp"), *arguments],
            env=self._platform.process_environment(SSPP_BACKUP_URL=str(self._store)),
            capture_output=True,
            text=True,
            check=False,
        )
        self.seconds[" ".join(arguments[:1])] = round(time.monotonic() - started, 1)
        assert done.returncode == 0, done.stderr
        return done.stdout


def rows(platform: Platform) -> dict[str, str]:
    """Every event, and a checksum of all that is stored of it."""
    return dict(platform.sql("SELECT event_id, md5(events::text) FROM events"))


def stored(platform: Platform) -> set[str]:
    """The events that a sender sent and that are stored."""
    return {name for (name,) in platform.sql("SELECT event_id FROM events WHERE event_id !~ '^file-'")}


def purchases(name: str) -> list[dict[str, Any]]:
    """A batch of a customer's of its own."""
    return [purchase(f"{name}-{number}", f"c-{name}") for number in range(BATCH)]


@contextmanager
def stored_no_more(platform: Platform) -> Iterator[None]:
    """What is accepted in the block stays in the queue; the block may end everything."""
    holding = psycopg.connect(platform.environment["DATABASE_URL"])
    try:
        holding.execute("LOCK TABLE customers IN EXCLUSIVE MODE")
        yield
    finally:
        holding.close()


def assert_sums_agree(platform: Platform, expected: int, until: Until) -> None:
    """Each event is stored once and counted once, and its document is on the way no more."""
    ((events, signals, counted),) = platform.sql(
        "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM signals),"
        " (SELECT sum(signal_count) FROM customers)"
    )
    assert events == signals == counted == expected
    until_indexed(platform, until)


def until_indexed(platform: Platform, until: Until) -> None:
    unindexed = "SELECT 1 FROM outbox WHERE indexed_at IS NULL LIMIT 1"
    until(lambda: not platform.sql(unindexed), timeout=PATIENCE_SECONDS)


def lose(starter: Starter) -> None:
    """PostgreSQL's data and the index; the queue's disk survives."""
    shutil.rmtree((starter.folder / "postgres").resolve() / "data")
    shutil.rmtree((starter.folder / "search").resolve())


def test_what_a_backup_holds_and_what_the_queue_holds_comes_back_and_senders_fill_the_gap(
    starter: Starter, platform: Platform, demo: httpx.Client, until: Until, tmp_path: Path
) -> None:
    store, file = tmp_path / "backups", tmp_path / "events.ndjson"
    timed = Timed(platform, store)
    with file.open("w") as out:
        for number in range(EVENTS):
            out.write(json.dumps(purchase(f"file-{number}", f"c-{number % 997}", f"{number}.25")) + "\n")
    timed.sspp("load", str(file), "--wait", "--json")
    until_indexed(platform, until)

    with Sender(demo) as sender:
        until(lambda: len(sender.acknowledged) > 5 * BATCH, timeout=PATIENCE_SECONDS)
        before = set(rows(platform))
        [backup] = json.loads(timed.sspp("backup", "--quiet", "--json"))
        acknowledged = set(sender.acknowledged)
        until(lambda: not acknowledged - stored(platform), timeout=PATIENCE_SECONDS)
        until(lambda: len(sender.acknowledged) > len(acknowledged) + 5 * BATCH, timeout=PATIENCE_SECONDS)
    with stored_no_more(platform):
        queued = purchases("queued")
        sender.send(*queued)
        live = rows(platform)
        starter.kill()
    assert not {event["event_id"] for event in queued} & live.keys()
    lose(starter)

    starter.start("--only-servers")
    assert "All counts and checksums are those of the backup" in timed.sspp("restore", "--quiet")
    manifest = json.loads((store / f"{backup['name']}.json").read_text())
    restored = rows(platform)
    assert before <= restored.keys()
    assert restored == {event_id: live[event_id] for event_id in restored}
    assert len(restored) == manifest["tables"]["events"]["rows"] >= EVENTS
    timed.sspp("verify", "--quiet")
    starter.end()

    started = time.monotonic()
    starter.start()
    timed.seconds["up"] = round(time.monotonic() - started, 1)
    until(lambda: {event["event_id"] for event in queued} <= stored(platform), timeout=PATIENCE_SECONDS)
    # What is lost is what was stored after the snapshot, and nothing else: that had left the queue.
    lost = sender.acknowledged.keys() - stored(platform)
    assert lost
    assert lost <= live.keys() - restored.keys()

    sender.send_again()
    until(lambda: sender.acknowledged.keys() <= stored(platform), timeout=PATIENCE_SECONDS)
    assert_sums_agree(platform, EVENTS + len(sender.acknowledged), until)
    timed.sspp("verify", "--quiet")
    if report := os.environ.get("SSPP_DISASTER_REPORT"):
        told = {"events": EVENTS, "restored": len(restored), "lost until sent again": len(lost)}
        Path(report).write_text(json.dumps(told | timed.seconds))


def test_the_loss_of_the_queue_costs_what_was_not_stored_yet_and_senders_fill_the_gap(
    starter: Starter, platform: Platform, demo: httpx.Client, until: Until
) -> None:
    sender = Sender(demo)
    sender.send(*purchases("stored"))
    until(lambda: len(stored(platform)) == BATCH, timeout=PATIENCE_SECONDS)
    with stored_no_more(platform):
        sender.send(*purchases("queued"))
        live = rows(platform)
        starter.kill()
    shutil.rmtree(starter.folder / "valkey")

    starter.start()
    assert rows(platform) == live
    sender.send_again()
    until(lambda: stored(platform) == sender.acknowledged.keys(), timeout=PATIENCE_SECONDS)
    assert live.items() <= rows(platform).items()
    assert_sums_agree(platform, 2 * BATCH, until)


def test_a_mistake_is_undone_and_what_came_after_the_backup_is_taken_from_the_former_database(
    starter: Starter, platform: Platform, demo: httpx.Client, until: Until, tmp_path: Path
) -> None:
    timed, sender, file = Timed(platform, tmp_path / "backups"), Sender(demo), tmp_path / "since.ndjson"
    sender.send(*purchases("before"))
    until(lambda: len(stored(platform)) == BATCH, timeout=PATIENCE_SECONDS)
    [backup] = json.loads(timed.sspp("backup", "--quiet", "--json"))
    sender.send(*purchases("after"))
    until(lambda: len(stored(platform)) == 2 * BATCH, timeout=PATIENCE_SECONDS)
    for table in ("events", "signals", "customers"):
        platform.connect().execute(f"DELETE FROM {table} WHERE customer_id = 'c-before'")
    starter.end()

    starter.start("--only-servers")
    said = timed.sspp("restore", "--quiet", "--overwrite")
    match = re.search(r"stays as (\w+);", said)
    assert match, said
    url = f"{platform.environment['DATABASE_URL'].rpartition('/')[0]}/{match[1]}"
    ((tenant_id,),) = platform.sql("SELECT tenant_id FROM tenants WHERE slug = 'demo'")
    with psycopg.connect(url) as former:
        statement = _SINCE.replace("$TENANT_ID", str(tenant_id)).replace("$TAKEN_AT", backup["taken_at"])
        file.write_text("\n".join(raw for (raw,) in former.execute(statement.encode())))
    starter.end()

    starter.start()
    timed.sspp("load", str(file), "--wait")
    until(lambda: stored(platform) == sender.acknowledged.keys(), timeout=PATIENCE_SECONDS)
    assert_sums_agree(platform, 2 * BATCH, until)
    timed.sspp("verify", "--quiet")
