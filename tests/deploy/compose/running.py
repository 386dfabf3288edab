"""The services of docker-compose.yml, run for real by infrastructure/scripts/setup.sh."""

import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from checkout import copy_checkout

PROCESSES = ("api", "worker-ingest", "worker-index", "worker-maintenance")
SERVICES = (*PROCESSES, "prometheus")

GRACE_SECONDS = 40
"""stop_grace_period of docker-compose.yml."""


def compose_command() -> list[str] | None:
    """What containers can be run with here."""
    if given := os.environ.get("SSPP_TEST_COMPOSE"):
        return given.split()
    if _works("docker", "info") and _works("docker", "compose", "version"):
        return ["docker", "compose"]
    if shutil.which("podman-compose") and _podman_version() >= (4, 6):
        return ["podman-compose"]
    return None


def _works(*command: str) -> bool:
    return (
        bool(shutil.which(command[0]))
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def _podman_version() -> tuple[int, ...]:
    told = subprocess.run(["podman", "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in told.rpartition(" ")[2].split(".")[:2] if part.isdigit())


@dataclass(frozen=True)
class Containers:
    """The platform in containers: a checkout and a project of its own, on ports of its own."""

    command: Sequence[str]
    checkout: Path
    environment: Mapping[str, str]
    api: httpx.Client
    prometheus: httpx.Client

    def set_up(self) -> str:
        """What setup.sh prints; it has to succeed."""
        return self._run(str(self.checkout / "infrastructure" / "scripts" / "setup.sh"), *SERVICES)

    def compose(self, *arguments: str) -> str:
        """What a compose command prints; it has to succeed."""
        return self._run(*self.command, *arguments)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """A compose command that is spoken with."""
        return self._begin(*self.command, *arguments)

    def begin_to_stop(self, service: str) -> subprocess.Popen[str]:
        """What compose does to stop `service`, and at once: it takes its time to read its files first."""
        return self._begin(self.engine, "stop", "-t", str(GRACE_SECONDS), self._container(service))

    def _begin(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def once(self, service: str, *arguments: str) -> str:
        """What a service prints that is run once, for a person."""
        # Docker's compose knows the profile by the service that is named, podman-compose does not.
        return self.compose("--profile", "cli", "run", "--rm", "-T", service, *arguments)

    def shell(self, service: str, script: str) -> str:
        """What a shell in the container of `service` prints."""
        return self.compose("exec", "-T", service, "sh", "-c", script).strip()

    def ask_database(self, query: str) -> str:
        """What PostgreSQL answers its superuser, unadorned."""
        return self.shell("postgres", f'psql -U postgres -d sspp -Atc "{query}"')

    def stored(self, mark: str) -> int:
        """How many events PostgreSQL has whose ids begin with `mark`."""
        return int(self.ask_database(f"SELECT count(*) FROM events WHERE event_id LIKE '{mark}-%'"))

    def answers(self, service: str) -> bool:
        """Whether the health check of `service` says that it is well now."""
        test = yaml.safe_load((self.checkout / "docker-compose.yml").read_text())["services"][service]
        try:
            self.shell(service, test["healthcheck"]["test"][1].replace("$$", "$"))
        except AssertionError:
            return False
        return True

    def remove_volume(self, name: str) -> None:
        """Lose what a volume holds, while nothing uses it."""
        self._run(self.engine, "volume", "rm", f"{self.environment['COMPOSE_PROJECT_NAME']}_{name}")

    def exit_code(self, service: str) -> int:
        """How the container of `service` ended."""
        state = json.loads(self._run(self.engine, "inspect", self._container(service)))[0]["State"]
        assert state["Status"] in {"exited", "stopped"}
        code: int = state["ExitCode"]
        return code

    def logs(self, service: str) -> str:
        """What the container of `service` has said so far."""
        return self._run(self.engine, "logs", self._container(service))

    def _container(self, service: str) -> str:
        labels = (f"project={self.environment['COMPOSE_PROJECT_NAME']}", f"service={service}")
        filters = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
        [container] = self._run(self.engine, "ps", "--all", "--quiet", *filters).split()
        return container

    def image(self) -> dict[str, Any]:
        """How the platform's image is configured."""
        [told] = json.loads(self._run(self.engine, "image", "inspect", self.environment["SSPP_IMAGE"]))
        # Podman shows the health check beside the rest of it.
        return {**told, **told["Config"]}

    def remove(self) -> None:
        """Nothing of it stays, as far as it got."""
        for command in (
            [*self.command, "--profile", "tools", "down", "-v"],
            [self.engine, "rmi", "--force", self.environment["SSPP_IMAGE"]],
            [self.engine, "rmi", "--force", self.environment["SSPP_RQ_DASHBOARD_IMAGE"]],
        ):
            subprocess.run(command, env=self.environment, cwd=self.checkout, capture_output=True, check=False)

    @property
    def engine(self) -> str:
        """The program that the compose command runs containers with."""
        return "docker" if self.command[0] == "docker" else "podman"

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, cwd=self.checkout, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-8000:]}{done.stderr[-8000:]}"
        return done.stdout


@contextmanager
def containers_of(command: Sequence[str], folder: Path) -> Iterator[Containers]:
    """A checkout in `folder` whose containers are gone in the end; they start with `set_up`."""
    mark = secrets.token_hex(4)
    ports = dict(zip(("PORT", "PROMETHEUS_PORT", "RQ_DASHBOARD_PORT"), _free_ports(3), strict=True))
    images = {"SSPP_IMAGE": f"sspp:test-{mark}", "SSPP_RQ_DASHBOARD_IMAGE": f"sspp-rq-dashboard:test-{mark}"}
    checkout = copy_checkout(folder)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SSPP_", "COMPOSE_"))},
        **ports,
        **images,
        "COMPOSE_PROJECT_NAME": f"sspp-test-{mark}",
        "SSPP_COMPOSE": " ".join(command),
        "SSPP_VERSION": "1.2.3",
        "SSPP_REVISION": mark,
    }
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{ports['PORT']}", timeout=30, trust_env=False) as api,
        httpx.Client(base_url=f"http://127.0.0.1:{ports['PROMETHEUS_PORT']}", trust_env=False) as prometheus,
    ):
        running = Containers(command, checkout, environment, api, prometheus)
        try:
            yield running
        finally:
            running.remove()


def _free_ports(count: int) -> list[str]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
