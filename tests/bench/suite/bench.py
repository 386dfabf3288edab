"""The servers that all contenders share, clean for each of them, and fleets of the platform's processes."""

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
from psycopg import sql

from common.redis import open_redis
from common.tenancy.keys import create_key
from common.tenancy.tenants import create_tenant
from infrastructure.database.connections import connect
from infrastructure.database.migrate import migrate
from infrastructure.database.roles import enable_process_roles, process_url
from infrastructure.local.folder import DataFolder
from infrastructure.local.ports import HOST, free_port
from infrastructure.local.process import Command
from infrastructure.local.search import answers_ok
from infrastructure.local.stack import Servers, process_environment
from infrastructure.local.supervisor import Supervisor
from suite.usage import peak_mebibytes

TENANT = "bench"

_PREFIX = (
    "sspp-test-bench-"  # that of the tests' servers: a later test run removes what a killed one left behind
)
_INHERITED = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
_START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Scope:
    """How much to measure: `quick` for a look in under two minutes, else thoroughly."""

    quick: bool = False

    def choose(self, thorough: int, quick: int) -> int:
        """The one that applies."""
        return quick if self.quick else thorough


@dataclass(frozen=True, slots=True)
class Place:
    """Clean stores for one contender's run: an own migrated database, an empty Redis, a search server without indices.

    `tenant_id` and `key` (scopes ``ingest`` and ``read``) are of the tenant that its events belong to.
    """

    database_url: str
    redis_url: str
    elasticsearch_url: str
    tenant_id: int
    key: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """Running processes of the platform: their API's address, and their numbers by name."""

    api_url: str
    pids: Mapping[str, int]

    def peak_mebibytes(self) -> dict[str, float]:
        """The most resident memory that each process has had so far; of those of which the system tells it."""
        peaks = {name: peak_mebibytes(pid) for name, pid in self.pids.items()}
        return {name: peak for name, peak in peaks.items() if peak is not None}


class Bench:
    """The servers of a run, and what scenarios need of them.

    Args:
        folder: held, and empty; holds the servers' data.
        note: is told in one line of what is going on.
        scope: how much to measure.
    """

    def __init__(self, folder: DataFolder, note: Callable[[str], None], scope: Scope) -> None:
        self.note = note
        self.scope = scope
        self.folder = folder
        self._servers = Servers(folder)
        self._supervisor = Supervisor(folder, report=note)
        self._template = f"sspp_bench_{secrets.token_hex(4)}"
        self._key = ""
        self._tenant_id = 0

    def start(self) -> None:
        """Start the servers and prepare the database that `place` copies."""
        self._servers.start(self._supervisor)
        self._create(self._template, "template1")
        url = self._database_url(self._template)
        migrate(url)
        with connect(url) as connection:
            self._tenant_id = create_tenant(connection, TENANT, TENANT).tenant_id
            self._key = create_key(connection, TENANT, TENANT, ["ingest", "read"])
            enable_process_roles(connection, self.folder.password)

    def stop(self) -> None:
        """Stop the servers."""
        self._supervisor.stop()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Clean stores; the database is dropped at the end."""
        name = f"{self._template}_{secrets.token_hex(4)}"
        self._create(name, self._template)
        try:
            with open_redis(self._servers.urls["REDIS_URL"]) as redis:
                redis.flushall()
            clear_search(self._servers.urls["ELASTICSEARCH_URL"])
            with self._admin() as connection:
                # What the last contender left for the background to write is not this one's to pay for.
                connection.execute("CHECKPOINT")
            yield Place(
                self._database_url(name),
                self._servers.urls["REDIS_URL"],
                self._servers.urls["ELASTICSEARCH_URL"],
                self._tenant_id,
                self._key,
            )
        finally:
            with self._admin() as connection:
                connection.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
                )

    def environment(self, place: Place, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """The complete environment of a process that works on `place`; `settings` are added."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        urls = self._servers.urls | {"DATABASE_URL": place.database_url}
        return process_environment({"LOG_FORMAT": "json"} | inherited, urls) | dict(settings or {})

    @contextmanager
    def fleet(
        self,
        place: Place,
        *,
        ingest: int = 1,
        index: int = 1,
        maintenance: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> Iterator[Fleet]:
        """An API and so many workers at work on `place`, as `sspp up` would run them."""
        port = free_port()
        environment = self.environment(place, settings) | {"PORT": str(port), "SSPP_HOST": HOST}
        rq = str(Path(sys.executable).with_name("rq"))
        queues = {"ingest": ingest, "index": index, "maintenance": maintenance}

        def as_role(process: str) -> dict[str, str]:
            url = process_url(place.database_url, process, self.folder.password)
            return environment | {"DATABASE_URL": url}

        workers = [
            Command(f"worker-{queue}-{number}", (rq, "worker", queue), as_role(queue))
            for queue, count in queues.items()
            for number in range(1, count + 1)
        ]
        api = Command(
            "api", (sys.executable, "-m", "api"), as_role("api"), is_ready=lambda: answers_ok(port, "/readyz")
        )
        with self.processes([api, *workers]) as supervisor:
            pids = {command.name: supervisor.pid(command.name) for command in [api, *workers]}
            yield Fleet(f"http://{HOST}:{port}", pids)

    @contextmanager
    def processes(self, commands: list[Command]) -> Iterator[Supervisor]:
        """Run `commands` while the context lasts; entered once all are ready."""
        supervisor = Supervisor(self.folder, report=self.note)
        try:
            supervisor.start(commands, timeout_seconds=_START_SECONDS)
            yield supervisor
        finally:
            supervisor.stop()

    @property
    def rounds(self) -> int:
        """How many figures each contender gets, unless a scenario has reason to take others."""
        return self.scope.choose(5, 3)

    def _create(self, name: str, template: str) -> None:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        with self._admin() as connection:
            connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))

    def _admin(self) -> psycopg.Connection:
        return psycopg.connect(self._servers.urls["DATABASE_URL"], autocommit=True)

    def _database_url(self, name: str) -> str:
        return urlunsplit(urlsplit(self._servers.urls["DATABASE_URL"])._replace(path=f"/{name}"))


@contextmanager
def open_bench(note: Callable[[str], None], scope: Scope) -> Iterator[Bench]:
    """A bench whose servers run while the context lasts; its data is removed at the end.

    Raises:
        LocalStackError: a server does not start.
    """
    path = Path(tempfile.mkdtemp(prefix=_PREFIX))
    path.chmod(0o711)  # PostgreSQL runs as an account of its own under root
    folder = DataFolder(path)
    folder.hold()
    bench = Bench(folder, note, scope)
    try:
        bench.start()
        yield bench
    finally:
        bench.stop()
        folder.release()
        for home in path.rglob("postgres"):
            if home.is_symlink():
                shutil.rmtree(home.resolve(), ignore_errors=True)
        shutil.rmtree(path, ignore_errors=True)


def clear_search(url: str) -> None:
    """Remove all indices and templates ``signals*``."""
    with httpx.Client(base_url=url, timeout=60) as client:
        for kind in ("_index_template", "_component_template"):
            answer = client.delete(f"/{kind}/signals*")
            if answer.status_code not in (200, 404):
                answer.raise_for_status()
        names = client.get("/_cat/indices/signals*?format=json&h=index").json()
        for entry in names:
            client.delete(f"/{entry['index']}").raise_for_status()
