import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infrastructure.local.errors import CancelledError, FolderBusyError, LocalStackError
from infrastructure.local.folder import DataFolder
from infrastructure.local.process import Command
from infrastructure.local.records import Record, identity, stop_recorded
from infrastructure.local.supervisor import Supervisor, describe_exit, pause_before_restart

STAY = "import sys, signal; print('here', flush=True); signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STAY}"


def command(name: str, code: str, **options: object) -> Command:
    return Command(name, (sys.executable, "-S", "-c", code), {"LC_ALL": "C"}, **options)


class Stage:
    def __init__(self, path: Path) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        self.folder = DataFolder(path)
        self.folder.hold()
        self.supervisor = Supervisor(self.folder, report=self.said.append, clock=lambda: self.now)

    def log(self, name: str) -> str:
        return (self.folder.logs / f"{name}.log").read_text()

    def dies(self, name: str) -> int:
        pid = self.supervisor.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.supervisor.stop()
    stage.folder.release()


def test_what_dies_is_started_again_after_a_pause(stage: Stage, until: Callable[..., object]) -> None:
    stage.supervisor.start([command("a", STAY)])
    dead = stage.dies("a")

    def noticed() -> bool:
        stage.supervisor.tick()
        return bool(stage.said)

    until(noticed)
    assert stage.said == ["a ended (killed by SIGKILL); starting it again"]
    assert stage.supervisor.pid("a") == dead
    stage.now += 0.25
    stage.supervisor.tick()
    assert stage.supervisor.pid("a") != dead
    assert identity(stage.supervisor.pid("a")) is not None


def test_pauses_double_up_to_five_seconds() -> None:
    assert [pause_before_restart(deaths) for deaths in range(1, 8)] == [0.25, 0.5, 1, 2, 4, 5, 5]
    assert pause_before_restart(10_000) == 5


def test_a_process_that_never_starts_is_an_error_that_shows_its_log(stage: Stage) -> None:
    with pytest.raises(LocalStackError, match=r"(?s)broken did not start \(exit code 3\).*no such thing"):
        stage.supervisor.start(
            [command("broken", "import sys; print('no such thing'); sys.exit(3)", is_ready=lambda: False)]
        )


def test_a_missing_program_is_an_error(stage: Stage) -> None:
    with pytest.raises(LocalStackError, match="ghost cannot be started"):
        stage.supervisor.start([Command("ghost", ("/nowhere/ghost",), {})])


def test_not_ready_in_time_is_an_error(stage: Stage) -> None:
    def never() -> bool:
        stage.now += 40
        return False

    with pytest.raises(LocalStackError, match="slow is not ready after 120 seconds"):
        stage.supervisor.start([command("slow", STAY, is_ready=never)])


def test_a_start_can_be_cancelled(stage: Stage) -> None:
    with pytest.raises(CancelledError):
        stage.supervisor.start([command("a", STAY, is_ready=lambda: False)], cancelled=lambda: True)


def start_server_and_worker_that_sign_when_they_stop(stage: Stage, book: Path) -> None:
    for name in ("server", "worker"):
        code = (
            "import signal, sys\n"
            f"def stop(*_): open({str(book)!r}, 'a').write({name + ' '!r}); sys.exit()\n"
            "signal.signal(signal.SIGTERM, stop)\n"
            "print('here', flush=True)\n"
            "while True: signal.pause()"
        )
        stage.supervisor.start([command(name, code, is_ready=lambda name=name: "here" in stage.log(name))])


def test_groups_stop_in_reverse_order_and_leave_no_record(stage: Stage, tmp_path: Path) -> None:
    start_server_and_worker_that_sign_when_they_stop(stage, tmp_path / "book")
    stage.supervisor.stop()
    assert (tmp_path / "book").read_text() == "worker server "
    assert list(stage.folder.run.iterdir()) == []
    assert stage.said == []


def test_what_was_left_behind_stops_in_reverse_order_too(stage: Stage, tmp_path: Path) -> None:
    start_server_and_worker_that_sign_when_they_stop(stage, tmp_path / "book")
    assert stop_recorded(stage.folder.run) == ["server", "worker"]
    assert (tmp_path / "book").read_text() == "worker server "
    assert list(stage.folder.run.iterdir()) == []


def test_the_next_stack_waits_until_the_end_of_a_killed_process_is_noticed(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', {STAY!r}], stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); sys.stdin.readline()\n"
        "time.sleep(0.5); child.wait()"
    )
    arguments = [sys.executable, "-S", "-c", script]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin
        assert parent.stdout
        pid = int(parent.stdout.readline())
        Record(pid, identity(pid), signal.SIGTERM, 0).write(tmp_path / "a.json")
        os.kill(pid, signal.SIGKILL)
        parent.stdin.write("from now on, half a second\n")
        parent.stdin.flush()
        stop_recorded(tmp_path)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_process_that_ignores_the_stop_is_killed_after_its_grace(stage: Stage) -> None:
    stubborn = command("a", STUBBORN, grace_seconds=0.1, is_ready=lambda: "here" in stage.log("a"))
    stage.supervisor.start([stubborn])
    pid = stage.supervisor.pid("a")
    stage.supervisor.stop()
    assert identity(pid) is None
    assert stage.said == ["a did not stop in time and was killed"]


def test_the_next_stack_ends_what_a_killed_one_left_running(tmp_path: Path) -> None:
    path = tmp_path / "stack"
    script = (
        "import sys, os, signal, pathlib\n"
        "from infrastructure.local.folder import DataFolder\n"
        "from infrastructure.local.process import Command\n"
        "from infrastructure.local.supervisor import Supervisor\n"
        f"folder = DataFolder(pathlib.Path({str(path)!r})); folder.hold()\n"
        f"Supervisor(folder, report=print).start([Command('a', (sys.executable, '-c', {STAY!r}), {{}})])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", script]) == -signal.SIGKILL
    folder = DataFolder(path)
    assert folder.hold() == ["a"]
    assert list(folder.run.iterdir()) == []
    folder.release()


def test_a_folder_whose_unrecorded_process_still_runs_is_refused(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.hold()
    supervisor = Supervisor(folder, report=print)
    supervisor.start([command("a", STAY)])
    (folder.run / "a.json").unlink()
    os.pwrite(folder.descriptor, b"999999999 gone", 0)
    with pytest.raises(FolderBusyError, match="left behind"):
        DataFolder(tmp_path).hold(patience_seconds=0)
    supervisor.stop()
    folder.release()


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit code 0"), (-9, "killed by SIGKILL"), (-250, "killed by signal 250")]
)
def test_an_exit_is_described_in_words(status: int, words: str) -> None:
    assert describe_exit(status) == words
