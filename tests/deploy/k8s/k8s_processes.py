"""Containers of the manifests as processes of this machine: same arguments, same environments, the tests' servers."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from k8s_manifests import Document, Rendering, Workload, overlay

ROOT = Path(__file__).parents[3]
_HOST = "127.0.0.1"
# Everything else comes from the manifests; nothing of the machine's may stand in for what they forgot.
_KEPT = ("HOME", "TMPDIR")


@dataclass
class Process:
    """One container that runs on."""

    container: Document
    grace_seconds: float
    port: int
    popen: subprocess.Popen[bytes]
    log: Path

    def passes(self, kind: str) -> bool:
        """Whether the probe succeeds, as a kubelet would ask."""
        assert self.popen.poll() is None, f"it ended with {self.popen.returncode}: {self.log.read_text()}"
        probe = self.container[kind]
        timeout = probe.get("timeoutSeconds", 1)
        try:
            if "tcpSocket" in probe:
                socket.create_connection((_HOST, self.port), timeout).close()
                return True
            answer = httpx.get(self.url + probe["httpGet"]["path"], timeout=timeout, trust_env=False)
        except (OSError, httpx.TransportError):
            return False
        return answer.is_success

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self.port}"

    def stop(self) -> int:
        """Ask it to end, wait for as long as Kubernetes would, and return its status."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(self.grace_seconds)


@dataclass(frozen=True)
class Runner:
    """Runs containers of one rendering.

    Attributes:
        rendering: whose.
        folder: for logs and for files that the cluster would mount.
        secrets: key → the value in place of what the manifests have, as servers are elsewhere here.
    """

    rendering: Rendering
    folder: Path
    secrets: Mapping[str, str] = field(repr=False)

    def complete(self, container: Document, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """Run a container that ends by itself."""
        return subprocess.run(
            _arguments(container),
            env=self._environment(container),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextmanager
    def running(self, workload: Workload) -> Iterator[Process]:
        """The main container of `workload`, until the end of the context; killed if it is still there then."""
        [container] = workload.containers(initial=False)
        port = _free_port()
        environment = self._environment(container)
        [declared] = container["ports"]
        names = [name for name in ("PORT", "SSPP_WORKER_METRICS_PORT") if name in environment]
        listens = names[-1]  # workers have both, and listen on the latter
        assert environment[listens] == str(declared["containerPort"]), f"{workload.name} listens elsewhere"
        environment[listens] = str(port)
        log = self.folder / f"{workload.document['metadata']['name']}.log"
        with ExitStack() as stack:
            process = subprocess.Popen(
                _arguments(container),
                env=environment,
                cwd=ROOT,
                stdout=stack.enter_context(log.open("ab")),
                stderr=subprocess.STDOUT,
            )
            stack.callback(_kill, process)
            grace = workload.spec["terminationGracePeriodSeconds"]
            yield Process(container, grace, port, process, log)

    def _environment(self, container: Document) -> dict[str, str]:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
        for name, value, key in self.rendering.environment(container):
            given = self.secrets.get(key, value)
            assert given is not None, f"{key} comes from outside, and the test has no value for it"
            environment[name] = self._mounted(container, given)
        # A machine's other networks are no business of the tests.
        return environment | {
            name: _HOST for name in ("SSPP_HOST", "SSPP_WORKER_METRICS_HOST") if name in environment
        }

    def _mounted(self, container: Document, value: str) -> str:
        """`value`, if it is a path below a mounted volume, as one below the test's folder."""
        for mount in container.get("volumeMounts", []):
            if value.startswith(mount["mountPath"]):
                path = self.folder / "mounted" / value.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.suffix:
                    path.write_text(self.secrets[path.name])
                return str(path)
        return value


def start_init_containers(
    secrets: Mapping[str, str], folder: Path, pods: int
) -> list[subprocess.CompletedProcess[str]]:
    """What becomes of the migrations of so many pods of the development's API that start at the same moment."""
    runner = Runner(overlay("dev"), folder, secrets)
    api = runner.rendering.workload("Deployment", "sspp-api")
    assert api
    [init] = api.spec["initContainers"]
    with ThreadPoolExecutor(pods) as starting:
        return list(starting.map(lambda _: runner.complete(init), range(pods)))


def new_key(runner: Runner) -> str:
    """A key of a new tenant, made by commands in the place of the migration's."""
    workload = runner.rendering.workload("Deployment", "sspp-api")
    assert workload
    [init] = workload.spec["initContainers"]
    slug = f"tenant-{secrets.token_hex(4)}"
    for arguments in (
        ["sspp", "tenants", "create", slug, "--name", "A test"],
        ["sspp", "keys", "create", slug, "--scope", "ingest", "--scope", "read"],
    ):
        ended = runner.complete({**init, "args": arguments})
        assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def _arguments(container: Document) -> list[str]:
    assert "command" not in container, "the image's own entry point is to be process 1"
    program, *arguments = container["args"]
    return [sys.executable if program == "python" else program, *arguments]


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
