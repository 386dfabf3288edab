"""`sspp up`, as one types it."""

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from patience import PATIENCE_SECONDS

from infrastructure.local import stack
from infrastructure.local.folder import DataFolder
from infrastructure.local.ports import free_port
from infrastructure.local.records import identity

Until = Callable[..., object]
SERVERS = ("DATABASE_URL", "REDIS_URL", "CACHE_URL", "ELASTICSEARCH_URL")


class Up:
    """A running ``sspp up`` and what it says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment_file = path / "env"
        self.output = path.with_suffix(".out")
        # What a shell holds for some other project must not be touched.
        foreign = dict.fromkeys(SERVERS, "postgresql://somebody@127.0.0.1:1/elses")
        self._environment = os.environ | foreign | {"NO_COLOR": "1"}
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *options: str) -> list[str]:
        sspp = str(Path(sys.executable).with_name("sspp"))
        return [sspp, "up", "--data-dir", str(self.path), *options]

    def start(self, until: Until) -> dict[str, str]:
        # A killed stack leaves its file behind until the next one has come far enough to remove it.
        self.environment_file.unlink(missing_ok=True)
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                self.command(), stdout=out, stderr=subprocess.STDOUT, env=self._environment
            )
        until(lambda: self.environment_file.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.output.read_text()
        return self.environment()

    def environment(self) -> dict[str, str]:
        words = shlex.split(self.environment_file.read_text())
        return dict(word.split("=", 1) for word in words)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options), capture_output=True, text=True, check=False, env=self._environment
        )

    def stop(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def children(self) -> dict[str, int]:
        return {
            record.stem: int(json.loads(record.read_text())["pid"])
            for record in (self.path / "run").glob("*.json")
        }


@pytest.fixture
def up(data_folder_path: Path) -> Iterator[Up]:
    up = Up(data_folder_path / "stack")
    yield up
    if up.process:
        up.stop(signal.SIGTERM)


def send_purchase(environment: dict[str, str]) -> str:
    answer = httpx.post(
        f"{environment['SSPP_API_URL']}/v1/events",
        headers={"Authorization": f"Bearer {environment['SSPP_API_KEY']}"},
        json={"event_type": "purchase", "customer_id": "c-1", "data": {"amount": "19.90", "currency": "USD"}},
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["event_ids"][0])


def status_of(environment: dict[str, str], event_id: str) -> str | None:
    answer = httpx.get(
        f"{environment['SSPP_API_URL']}/v1/events/{event_id}",
        headers={"Authorization": f"Bearer {environment['SSPP_API_KEY']}"},
        timeout=10,
    )
    return answer.json()["status"] if answer.is_success else None


@pytest.mark.timeout(600)
def test_the_platform_works_survives_kills_and_finds_everything_again(up: Up, until: Until) -> None:
    environment = up.start(until)
    assert stat.S_IMODE(up.environment_file.stat().st_mode) == 0o600
    assert httpx.get(f"{environment['SSPP_API_URL']}/readyz", timeout=10).status_code == 200
    first = send_purchase(environment)
    until(lambda: status_of(environment, first) == "indexed")

    refused = up.run()
    assert refused.returncode == 1
    assert "another sspp up" in refused.stderr

    # A worker that dies is started again, and the stack goes on.
    before = up.children()
    assert set(before) == {
        *("postgres", "valkey", "search", "api"),
        *("worker-ingest-1", "worker-index", "worker-maintenance"),
    }
    os.kill(before["worker-ingest-1"], signal.SIGKILL)
    until(lambda: up.children()["worker-ingest-1"] != before["worker-ingest-1"])
    second = send_purchase(environment)
    until(lambda: status_of(environment, second) == "indexed")

    # The whole stack dies without a word: the next one ends what is left and is the same to its clients.
    left = up.children()
    up.stop(signal.SIGKILL)
    again = up.start(until)
    assert not [name for name, pid in left.items() if identity(pid)]
    assert again == environment
    assert status_of(again, second) == "indexed"

    running = up.children()
    assert up.stop(signal.SIGINT) == 0
    assert not [name for name, pid in running.items() if identity(pid)]
    assert up.children() == {}
    assert up.output.read_text().endswith("stopping\nstopped\n")


def test_a_stop_during_the_start_leaves_nothing_running(up: Up, until: Until) -> None:
    with up.output.open("wb") as out:
        up.process = subprocess.Popen(up.command(), stdout=out, stderr=subprocess.STDOUT)
    until(lambda: "valkey" in up.children())
    assert up.stop(signal.SIGTERM) == 0
    assert up.children() == {}


def test_a_port_that_is_taken_is_told_before_anything_is_started(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        refused = up.run("--port", str(taken))
    assert refused.returncode == 1
    assert refused.stderr == (
        f"sspp: port {taken} is in use; give another --port, or none to take a free one\n"
    )
    assert "starting" not in refused.stdout
    assert list((up.path / "logs").iterdir()) == []


def test_another_port_than_the_usual_one_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = free_port()
    monkeypatch.setattr(stack, "_USUAL_PORT", usual)
    assert stack.Applications(DataFolder(tmp_path), {}).port_remark is None
    with socket.create_server(("127.0.0.1", usual)):
        first = stack.Applications(DataFolder(tmp_path), {})
        again = stack.Applications(DataFolder(tmp_path), {})
        chosen = stack.Applications(DataFolder(tmp_path), {}, port=free_port())
    assert first.port != usual
    assert first.port_remark == again.port_remark == f"port {usual} is in use, so the API takes {first.port}"
    assert chosen.port_remark is None
    assert stack.Applications(DataFolder(tmp_path), {}).port_remark is None


def test_a_data_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    refused = Up(in_the_way / "stack").run()
    assert refused.returncode == 1
    assert refused.stderr.startswith("sspp: the data folder")
    assert len(refused.stderr.splitlines()) == 1
