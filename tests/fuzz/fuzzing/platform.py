"""The platform under test: ``sspp up`` on embedded servers of its own, as real processes."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[3]
_START_SECONDS, _STOP_SECONDS = 120, 60

OPEN_TYPE = "fuzz.anything"
"""An event type of the tenant under test whose schema accepts any object."""


@dataclass(frozen=True)
class Tenant:
    """A tenant and a key of it with all scopes."""

    tenant_id: int
    key: str = field(repr=False)


class Platform:
    """A running platform: where it listens, its servers, its processes."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        host, _, port = environment["SSPP_API_URL"].removeprefix("http://").partition(":")
        self.address = (host, int(port))
        self.url = environment["SSPP_API_URL"]

    def new_tenant(self, slug: str) -> Tenant:
        """Make a tenant that knows `OPEN_TYPE`, and a key for it, by the command line."""
        schema = self.folder / "open.json"
        schema.write_text("{}")
        self._sspp("tenants", "create", slug, "--name", "Fuzzed")
        self._sspp("event-types", "add", str(schema), "--type", OPEN_TYPE, "--tenant", slug)
        scopes = [word for scope in ("ingest", "read", "tenant_admin") for word in ("--scope", scope)]
        key = self._sspp("keys", "create", slug, *scopes).strip()
        with psycopg.connect(self.environment["DATABASE_URL"]) as connection:
            row = connection.execute("SELECT tenant_id FROM tenants WHERE slug = %s", (slug,)).fetchone()
        assert row is not None
        return Tenant(row[0], key)

    def processes(self) -> dict[str, int]:
        """The process id of everything that runs, by name."""
        records = (self.folder / "run").glob("*.json")
        return {record.stem: int(json.loads(record.read_text())["pid"]) for record in records}

    def peak_memory(self) -> dict[str, float]:
        """The most memory that each process ever had resident, in MiB; empty where the system does not tell."""
        peaks = {}
        for name, pid in self.processes().items():
            status = Path(f"/proc/{pid}/status")
            if status.exists():
                lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
                peaks[name] = round(int(lines[0].split()[1]) / 1024, 1)
        return dict(sorted(peaks.items()))

    def _sspp(self, *arguments: str) -> str:
        ran = subprocess.run(
            [_program("sspp"), *arguments],
            env={**_bare_environment(), **self.environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


@contextmanager
def running_platform(**settings: str) -> Iterator[Platform]:
    """Start a platform with `settings` in its environment; stop it and remove its data at the end."""
    folder = Path(tempfile.mkdtemp(prefix="sspp-test-"))
    # PostgreSQL's account has to get in when root runs the tests.
    folder.chmod(0o711)
    output = folder / "up.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [_program("sspp"), "up", "--data-dir", str(folder), "--port", str(_free_port())],
            env={**_bare_environment(), "LOG_FORMAT": "json", **settings},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not (folder / "env").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"sspp up did not start:\n{output.read_text()}")
            time.sleep(0.05)
        words = (shlex.split(line) for line in (folder / "env").read_text().splitlines())
        yield Platform(folder, dict(word.split("=", 1) for line in words for word in line))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _bare_environment() -> dict[str, str]:
    """Nothing that concerns the platform: what a shell names for other uses must not be fuzzed."""
    kept = ("PATH", "HOME", "USER", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C.UTF-8"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
