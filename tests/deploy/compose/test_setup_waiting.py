"""What infrastructure/scripts/setup.sh says of services that run, and of some that do not.

A script stands for compose, as it is what would start containers; test_containers.py has it start them.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from setup_script import SCRIPT, Run

pytestmark = pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("curl")), reason="bash or curl is not installed"
)

ALL = ("postgres", "migrate", "api", "worker-ingest", "prometheus", "grafana")

# Each service of its folder is a file that holds when its process began; of a worker, only if it answers.
COMPOSE = """#!/bin/sh
cd {folder}
echo "$*" >>calls
case $1 in
up) [ ! -e taken ] ;;
config) ls services ;;
exec)
    service=services/$3
    [ "$2" = -T ] && [ -s $service ] || exit 1
    case $3 in worker-*) case $6 in 'python -m infrastructure.compose.healthcheck && '*) ;; *) exit 1 ;; esac ;; esac
    [ ! -e again/$3 ] || echo $(($(cat $service) + 1)) >$service
    echo 'what some print before'
    echo "1 (a name) S 0 1 1 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 1 0 $(cat $service) 1 1" ;;
esac
"""

SetUp = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ready_port() -> Iterator[int]:
    """Where something says that it is ready."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status":"ready"}')

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield server.server_port
        server.shutdown()
        serving.join()


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """What the stand-in for compose runs, and was called with."""
    folder = tmp_path / "machine"
    (folder / "services").mkdir(parents=True)
    (folder / "again").mkdir()
    for service in ALL:
        (folder / "services" / service).write_text("4711")
    (folder / "services" / "migrate").write_text("")
    return folder


@pytest.fixture
def set_up(checkout: Path, run: Run, machine: Path, tmp_path: Path, ready_port: int) -> SetUp:
    """Runs the script with services to start; it waits no longer than it has to."""
    compose = tmp_path / "bin" / "a-compose"
    compose.write_text(COMPOSE.format(folder=machine))
    compose.chmod(0o755)
    (tmp_path / "bin" / "ls").symlink_to(str(shutil.which("ls")))
    text = (checkout / SCRIPT).read_text()
    for name in ("WELL_SECONDS=120", "STEADY_SECONDS=5"):
        assert text.count(name) == 1
        text = text.replace(name, name.partition("=")[0] + "=0")
    (checkout / SCRIPT).write_text(text)

    def set_up(*services: str) -> subprocess.CompletedProcess[str]:
        return run(*services, SSPP_COMPOSE="a-compose", PORT=str(ready_port))

    return set_up


def test_it_is_content_when_all_run_and_go_on_running(set_up: SetUp, machine: Path) -> None:
    done = set_up()
    assert (done.returncode, "SSPP is running." in done.stdout) == (0, True), done.stderr
    calls = (machine / "calls").read_text().splitlines()
    assert calls[:3] == ["version", "build migrate", "up -d"]


def test_it_shows_where_what_was_started_is(set_up: SetUp) -> None:
    def pages(*services: str) -> list[str]:
        return re.findall("Prometheus|Grafana", set_up(*services).stdout)

    assert pages() == ["Prometheus", "Grafana"]
    assert pages("api", "prometheus") == ["Prometheus"]
    assert pages("api", "worker-ingest") == []


@pytest.mark.parametrize("service", ["worker-ingest", "prometheus"])
def test_one_that_ended_is_named_with_where_to_look(set_up: SetUp, machine: Path, service: str) -> None:
    (machine / "services" / service).write_text("")
    done = set_up()
    assert (done.returncode, "SSPP is running." in done.stdout) == (1, False)
    assert done.stderr.endswith(f": {service}\n  Look at: a-compose logs {service}\n")


@pytest.mark.parametrize("service", ["worker-ingest", "grafana"])
def test_one_that_begins_anew_again_and_again_is_named(set_up: SetUp, machine: Path, service: str) -> None:
    (machine / "again" / service).touch()
    done = set_up()
    assert (done.returncode, "SSPP is running." in done.stdout) == (1, False)
    assert done.stderr.endswith(f": {service}\n  Look at: a-compose logs {service}\n")


def test_what_was_not_started_is_not_asked(set_up: SetUp, machine: Path) -> None:
    (machine / "services" / "grafana").write_text("")
    assert set_up("api", "worker-ingest").returncode == 0


def test_a_start_that_fails_points_to_what_compose_said_and_to_ports(set_up: SetUp, machine: Path) -> None:
    (machine / "taken").touch()
    done = set_up()
    assert done.returncode == 1
    assert "what a-compose says above" in done.stderr
    assert "set PORT, PROMETHEUS_PORT or GRAFANA_PORT in .env" in done.stderr


def test_a_broken_password_is_refused_before_compose_builds(
    checkout: Path, set_up: SetUp, machine: Path
) -> None:
    (checkout / ".env").write_text("REDIS_PASSWORD=a@b\n")
    assert set_up().returncode == 1
    assert (machine / "calls").read_text() == "version\n"
