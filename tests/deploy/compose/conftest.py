"""The tests here can import the modules beside this one, and share one platform in containers."""

import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from running import Containers, compose_command, containers_of
from setup_script import Run, copy_script, machine_without_containers


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """The platform, up and ready. Each test leaves it so."""
    command = compose_command()
    if command is None:
        pytest.skip("no docker compose, no podman 4.6 with podman-compose; SSPP_TEST_COMPOSE names another")
    with containers_of(command, tmp_path_factory.mktemp("checkout")) as running:
        said = running.set_up()
        assert str(running.api.base_url).rstrip("/") in said
        yield running


@pytest.fixture(scope="session")
def key(containers: Containers) -> str:
    """An API key that may send and read."""
    containers.once("sspp", "seed")
    made = containers.once("sspp", "keys", "create", "demo", "--scope", "ingest", "--scope", "read")
    return made.strip().splitlines()[-1].strip()


@pytest.fixture
def send(containers: Containers, key: str) -> Callable[[int], str]:
    """Sends so many events; returns what their ids begin with, and search finds them by."""

    def send(count: int) -> str:
        mark = f"seats{secrets.token_hex(4)}"
        answer = containers.api.post(
            "/v1/events",
            json=[
                {
                    "event_id": f"{mark}-{number}",
                    "event_type": "inquiry",
                    "customer_id": "ada",
                    "data": {"subject": f"Quote for {mark}", "message": "We would like to start in May."},
                }
                for number in range(count)
            ],
            headers={"Authorization": f"Bearer {key}"},
        )
        assert (answer.status_code, answer.json()["accepted"]) == (202, count)
        return mark

    return send


@pytest.fixture
def found(containers: Containers, key: str) -> Callable[[str], int]:
    """How many events search finds by a word."""

    def found(mark: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        try:
            answer = containers.api.get("/v1/search", params={"q": mark}, headers=headers)
        except httpx.TransportError:
            return 0
        return int(answer.json()["total"]) if answer.is_success else 0

    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a checkout as setup.sh looks at."""
    return copy_script(tmp_path / "checkout")


@pytest.fixture
def run(checkout: Path, tmp_path: Path) -> Run:
    """Runs setup.sh on a machine that has no containers."""
    return machine_without_containers(checkout, tmp_path / "bin")
