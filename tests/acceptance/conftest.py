"""One running platform for the whole tier, seen only from outside: HTTP, the command line, its servers.

``sspp up`` is started once for all test processes, on embedded servers and whatever the environment names: it is
what is under test. The tests here may not import our packages.
"""

import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import TupleRow

ROOT = Path(__file__).parents[2]
_START_SECONDS = 90
_STOP_SECONDS = 60
_OPTIONS = ("--workers", "2")


@dataclass(frozen=True)
class Tenant:
    """A company of its own on the platform: what it sends disturbs no other test."""

    slug: str
    tenant_id: int
    key: str = field(repr=False)
    api: httpx.Client = field(repr=False)


@dataclass(frozen=True)
class Platform:
    """A running platform: its data folder, and the variables of its environment file."""

    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    _connections: list[psycopg.Connection[TupleRow]] = field(default_factory=list, repr=False)

    @property
    def url(self) -> str:
        return self.environment["SSPP_API_URL"]

    def client(self, key: str = "") -> httpx.Client:
        """An HTTP client of the API, with `key` if given."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def program(self, name: str) -> str:
        """The path of a program that comes with the installation."""
        return _program(name)

    def process_environment(self, **changes: str) -> dict[str, str]:
        """What a shell has that read the environment file, and nothing else of ours."""
        return {**_bare_environment(), **self.environment, **changes}

    def sspp(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run an ``sspp`` command as in a shell that read the environment file."""
        return subprocess.run(
            [self.program("sspp"), *arguments],
            env=self.process_environment(**environment),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def sql(self, statement: str, *parameters: object) -> list[TupleRow]:
        """What PostgreSQL answers; asked again should a test have restarted it meanwhile."""
        try:
            return self.connect().execute(statement, parameters).fetchall()
        except psycopg.OperationalError:
            return self.connect().execute(statement, parameters).fetchall()

    def connect(self) -> psycopg.Connection[TupleRow]:
        """A connection to PostgreSQL, kept for the next time."""
        if not self._connections or self._connections[-1].closed:
            self._connections.append(psycopg.connect(self.environment["DATABASE_URL"], autocommit=True))
        return self._connections[-1]

    def close(self) -> None:
        """Give up what was opened on the way."""
        for connection in self._connections:
            connection.close()

    def stored(self, tenant: Tenant) -> dict[str, Any]:
        """What the database holds of a tenant: the ids of its stored events, its signals and customers' sums."""
        ((events, signals),) = self.sql(
            "SELECT (SELECT array_agg(event_id) FROM events WHERE tenant_id = t),"
            " (SELECT count(*) FROM signals WHERE tenant_id = t) FROM (VALUES (%s::integer)) AS asked (t)",
            tenant.tenant_id,
        )
        ((counted, amount),) = self.sql(
            "SELECT coalesce(sum(signal_count), 0)::integer, coalesce(sum((totals ->> 'USD')::numeric), 0)"
            " FROM customers WHERE tenant_id = %s",
            tenant.tenant_id,
        )
        return {"ids": sorted(events or ()), "signals": signals, "counted": counted, "amount": amount}

    def search(self, path: str, **body: Any) -> dict[str, Any]:
        """What the search server itself answers."""
        url = self.environment["ELASTICSEARCH_URL"]
        answer = httpx.post(url + path, json=body, timeout=30, trust_env=False)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def pid(self, name: str) -> int:
        """The number of one of the platform's own processes, from its records."""
        return int(json.loads((self.folder / "run" / f"{name}.json").read_text())["pid"])

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to one of the platform's own processes; returns its number."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def log_lines(self, name: str) -> list[dict[str, Any]]:
        """The JSON lines that a process logged so far."""
        return json_lines(self.folder / "logs" / f"{name}.log")

    def new_tenant(self) -> Tenant:
        """Make a tenant and a key for all scopes, by the command line."""
        slug = f"test-{secrets.token_hex(4)}"
        made = self.sspp("tenants", "create", slug, "--name", "A test")
        assert made.returncode == 0, made.stderr
        key = self.new_key(slug, "ingest", "read", "admin")
        ((tenant_id,),) = self.sql("SELECT tenant_id FROM tenants WHERE slug = %s", slug)
        return Tenant(slug, tenant_id, key, self.client(key))

    def new_key(self, slug: str, *scopes: str) -> str:
        """Make a key of the tenant, by the command line."""
        options = [word for scope in scopes for word in ("--scope", scope)]
        made = self.sspp("keys", "create", slug, *options)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()


@pytest.fixture(scope="session")
def running_platform(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Platform]:
    """The platform, started by whichever test process asks first and stopped by it when no other uses it."""
    base = tmp_path_factory.getbasetemp()
    with (
        _shared(base if worker_id == "master" else base.parent) as folder,
        closing(Platform(folder, _read_environment(folder / "env"))) as platform,
    ):
        yield platform


@pytest.fixture
def own_platform() -> Iterator[Platform]:
    """A platform that no other test uses, for what concerns the data of all tenants."""
    starter = _Starter()
    with closing(Platform(starter.folder, _read_environment(starter.folder / "env"))) as platform:
        yield platform
    starter.stop()


@pytest.fixture
def platform(running_platform: Platform) -> Iterator[Platform]:
    """The platform, with all of its processes alone."""
    with quiet(running_platform):
        yield running_platform


@pytest.fixture
def disrupted_platform(running_platform: Platform) -> Iterator[Platform]:
    """The platform, for a test that kills or stops its processes: no other test runs meanwhile."""
    with _locked(running_platform.folder / "quiet", fcntl.LOCK_EX):
        yield running_platform


@pytest.fixture(scope="session")
def quietly(running_platform: Platform) -> Callable[[], AbstractContextManager[None]]:
    """For fixtures of a wider scope: a context in which nobody kills processes."""
    return lambda: quiet(running_platform)


@pytest.fixture(scope="session")
def tenant(running_platform: Platform) -> Iterator[Tenant]:
    """A tenant of this test process; tests keep apart by the ids that they use."""
    with quiet(running_platform):
        made = running_platform.new_tenant()
    with made.api:
        yield made


def quiet(platform: Platform) -> AbstractContextManager[None]:
    """A context in which no test kills or stops processes of the platform."""
    return _locked(platform.folder / "quiet", fcntl.LOCK_SH)


def purchase(
    event_id: str, customer_id: str = "c-1", amount: object = "1.50", **fields: Any
) -> dict[str, Any]:
    """A purchase, as a client sends it."""
    return {
        "event_id": event_id,
        "event_type": "purchase",
        "customer_id": customer_id,
        "data": {"amount": amount, "currency": "USD"},
        **fields,
    }


@pytest.fixture(scope="session")
def new_purchase() -> Callable[..., dict[str, Any]]:
    """Makes purchases; see `purchase`."""
    return purchase


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of `path` that are JSON objects."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, kind)
        yield


@contextmanager
def _shared(meeting_point: Path) -> Iterator[Path]:
    """The data folder of one platform for all test processes that have the same `meeting_point`.

    Whoever comes first starts it. As only a parent learns an exit code, the same one stops it, once the others,
    who hold the file of users, have gone.
    """
    election, users, address = (
        meeting_point / f"platform.{name}" for name in ("election", "users", "address")
    )
    starter: _Starter | None = None
    with ExitStack() as membership:
        with _locked(election, fcntl.LOCK_EX):
            if not address.exists():
                starter = _Starter()
                address.write_text(str(starter.folder))
            membership.enter_context(_locked(users, fcntl.LOCK_SH))
        yield Path(address.read_text())
    if starter:
        with _locked(election, fcntl.LOCK_EX), _locked(users, fcntl.LOCK_EX):
            address.unlink()
            starter.stop()


class _Starter:
    """Starts ``sspp up`` in a new folder, and returns when its environment file is there."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sspp-test-"))
        # PostgreSQL's account has to get in when root runs the tests.
        self.folder.chmod(0o711)
        self._output = self.folder / "up.log"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    _program("sspp"),
                    "up",
                    *("--data-dir", str(self.folder)),
                    *_OPTIONS,
                    f"--port={_free_port()}",
                ],
                env={**_bare_environment(), "LOG_FORMAT": "json"},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not (self.folder / "env").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                status = self._process.poll()
                self.stop(expected=status)
                pytest.fail(f"sspp up did not start ({status}):\n{self._said}")
            time.sleep(0.05)

    def stop(self, expected: int | None = 0) -> None:
        """Ask it to stop, and see that it ends well."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._said = self._output.read_text()
        if status == 0 or expected != 0:
            shutil.rmtree(self.folder, ignore_errors=True)
        if expected == 0:
            assert status == 0, self._said


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _bare_environment() -> dict[str, str]:
    """Nothing that concerns the platform: not the servers, either, that may be given for other tests."""
    kept = ("PATH", "HOME", "USER", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C.UTF-8"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read_environment(path: Path) -> dict[str, str]:
    words = (shlex.split(line) for line in path.read_text(encoding="utf-8").splitlines())
    return dict(word.split("=", 1) for line in words for word in line)
