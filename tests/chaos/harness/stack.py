"""The stack under test: real servers and processes, supervised, with the harness's proxies in between."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from common.tenancy.keys import create_key
from common.tenancy.tenants import create_tenant
from harness.postgres_proxy import PostgresProxy
from harness.search_proxy import SearchProxy
from harness.stores import Stores
from harness.waiting import wait_for
from infrastructure.database.connections import connect
from infrastructure.database.migrate import migrate
from infrastructure.database.roles import enable_process_roles, process_url
from infrastructure.local.folder import DataFolder
from infrastructure.local.ports import HOST
from infrastructure.local.process import Command
from infrastructure.local.records import Record
from infrastructure.local.search import answers_ok
from infrastructure.local.stack import Servers, process_environment
from infrastructure.local.supervisor import Supervisor

SERVERS = ("postgres", "valkey", "search")
INGEST_WORKERS = ("worker-ingest-1", "worker-ingest-2")
INDEX_WORKERS = ("worker-index-1", "worker-index-2")
MAINTENANCE_WORKER = "worker-maintenance"
WORKERS = (*INGEST_WORKERS, *INDEX_WORKERS, MAINTENANCE_WORKER)
FLEET = ("api", *WORKERS)

_START_SECONDS = 120
_INHERITED = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TMPDIR")


class Stack:
    """A whole platform of its own in `path`; whatever dies in it is started again.

    The platform sees PostgreSQL and the search server through `database_proxy` and `search_proxy`; the harness
    sees them directly, through `stores` and `search_url`.

    Args:
        path: an empty folder.
        environment: settings of the platform's processes, SSPP_LIVENESS_SECONDS among them.
        note: is told in one line of what the supervisor does.
    """

    def __init__(self, path: Path, environment: Mapping[str, str], note: Callable[[str], None]) -> None:
        self.folder = DataFolder(path)
        self.folder.hold()
        self._note = note
        self._supervisor = Supervisor(self.folder, report=note)
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._supervise, name="supervisor")
        servers = Servers(self.folder)
        self._servers = servers
        self._database_url = servers.urls["DATABASE_URL"]
        self.search_url = servers.urls["ELASTICSEARCH_URL"]
        self.stores = Stores(self._database_url, servers.urls["REDIS_URL"])
        self.database_proxy = PostgresProxy(urlsplit(self._database_url).port or 0)
        self.search_proxy = SearchProxy(urlsplit(self.search_url).port or 0)
        self._api_port = self.folder.port("api")
        self.api_url = f"http://{HOST}:{self._api_port}"
        self._settings = dict(environment)
        self.liveness_seconds = float(environment["SSPP_LIVENESS_SECONDS"])
        self.keys: dict[str, str] = {}
        """API keys by tenant slug."""
        self.tenant_ids: dict[str, int] = {}

    def start(self, tenants: list[str]) -> None:
        """Start everything, with these tenants, and return when events are accepted."""
        self._servers.start(self._supervisor)
        migrate(self._database_url)
        with connect(self._database_url) as connection:
            for slug in tenants:
                self.tenant_ids[slug] = create_tenant(connection, slug, slug).tenant_id
                self.keys[slug] = create_key(connection, slug, "chaos", ["ingest", "read", "tenant_admin"])
            enable_process_roles(connection, self.folder.password)
        self._supervisor.start(self._fleet(), timeout_seconds=_START_SECONDS)
        self._watch.start()

    def stop(self) -> None:
        """Stop everything in good order; the folder and its logs stay."""
        self._stopping.set()
        if self._watch.is_alive():
            self._watch.join()
        self._supervisor.stop()
        self.search_proxy.close()
        self.database_proxy.close()
        self.folder.release()

    def environment(self, process: str) -> dict[str, str]:
        """The complete environment of a process of the platform, or of one of its commands."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        queue = process.split("-")[1] if process.startswith("worker-") else process
        database_url = process_url(self._database_url, queue, self.folder.password)
        urls = self._servers.urls | {
            "DATABASE_URL": _at_port(database_url, self.database_proxy.door(process)),
            "ELASTICSEARCH_URL": _at_port(self.search_url, self.search_proxy.port),
        }
        ours = {"PORT": str(self._api_port), "SSPP_HOST": HOST}
        return process_environment(inherited, urls) | self._settings | ours

    def running(self, name: str) -> Record | None:
        """The record of the process `name` if it runs now."""
        path = self.folder.run / f"{name}.json"
        with contextlib.suppress(OSError, json.JSONDecodeError):  # being written anew
            record = Record(**json.loads(path.read_text(encoding="utf-8")))
            return record if record.is_running else None
        return None

    def await_running(self, name: str, *, other_than: int = 0, timeout: float = 60) -> int:
        """The number of the process `name`, once it runs; of its next run if `other_than` is its present one."""

        def found() -> int:
            record = self.running(name)
            return record.pid if record and record.pid != other_than else 0

        return wait_for(found, timeout, f"{name} to run")

    def send(self, name: str, number: signal.Signals) -> int:
        """Send a signal to the process `name`, waiting for it to run first; returns its number."""
        pid = self.await_running(name)
        with contextlib.suppress(ProcessLookupError):  # ended in this very moment
            os.kill(pid, number)
        return pid

    def kill(self, *names: str) -> None:
        """SIGKILL processes, all at once as far as possible."""
        for name in names:
            self.await_running(name)
        for name in names:
            self.send(name, signal.SIGKILL)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """SIGSTOP the process `name` and all its children, and let them go on afterwards."""
        pid = self.await_running(name)
        pids = [pid, *_children(pid)]
        try:
            for each in pids:
                _signal(each, signal.SIGSTOP)
            yield
        finally:
            for each in reversed(pids):
                _signal(each, signal.SIGCONT)

    def _fleet(self) -> list[Command]:
        rq = str(Path(sys.executable).with_name("rq"))
        workers = [
            Command(name, (rq, "worker", name.split("-")[1]), self.environment(name)) for name in WORKERS
        ]
        api = Command(
            "api",
            (sys.executable, "-m", "api"),
            self.environment("api"),
            is_ready=lambda: answers_ok(self._api_port, "/readyz"),
        )
        return [api, *workers]

    def _supervise(self) -> None:
        try:
            self._supervisor.run(self._stopping.is_set)
        except Exception as error:
            self._note(f"the supervisor itself failed: {error!r}")
            raise


def _at_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    return urlunsplit(
        parts._replace(netloc=f"{credentials}@{HOST}:{port}" if credentials else f"{HOST}:{port}")
    )


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if listed.exists():
        return [int(child) for child in listed.read_text(encoding="ascii").split()]
    # macOS has no /proc.
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in told.stdout.splitlines()]
    return [child for child, parent in pairs if parent == pid]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
