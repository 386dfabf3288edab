"""The local stack: its servers, and the processes of the platform on top of them."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from infrastructure.database.roles import process_url
from infrastructure.local.errors import LocalStackError
from infrastructure.local.folder import DataFolder
from infrastructure.local.ports import HOST, is_free
from infrastructure.local.postgres import Postgres
from infrastructure.local.process import Command
from infrastructure.local.search import Search, answers_ok
from infrastructure.local.supervisor import Cancelled, Supervisor
from infrastructure.local.valkey import Valkey

_USUAL_PORT = 8000
WORKER_CLASS = "worker.worker.DrainWorker"


class Servers:
    """PostgreSQL, Valkey and search: embedded ones, except those whose URL is given.

    Args:
        folder: the data folder, held.
        given: URLs of servers to use instead, by environment variable; others are ignored.
        durable: False makes the embedded servers faster and unsafe against power cuts: for tests.
    """

    def __init__(
        self, folder: DataFolder, given: Mapping[str, str] | None = None, *, durable: bool = True
    ) -> None:
        given = {
            name: url for name, url in (given or {}).items() if url and not _is_embedded(folder, name, url)
        }
        makers: dict[str, Callable[[], Postgres | Valkey | Search]] = {
            Postgres.variable: lambda: Postgres(folder, durable=durable),
            Valkey.variable: lambda: Valkey(folder, durable=durable),
            Search.variable: lambda: Search(folder),
        }
        self.embedded = [make() for variable, make in makers.items() if variable not in given]
        urls = {server.variable: server.url for server in self.embedded}
        urls |= {variable: given[variable] for variable in makers if variable in given}
        urls["CACHE_URL"] = given.get("CACHE_URL") or _database_1(urls[Valkey.variable])
        self.urls: dict[str, str] = urls
        """DATABASE_URL, REDIS_URL, CACHE_URL and ELASTICSEARCH_URL."""
        self.own_database = Postgres.variable not in given
        """Whether PostgreSQL is an embedded one, whose roles are ours to see to."""

    def start(self, supervisor: Supervisor, *, cancelled: Cancelled | None = None) -> None:
        """Start the embedded ones under `supervisor` and return when they answer.

        Raises:
            LocalStackError: one of them cannot be prepared or started.
        """
        supervisor.start([server.prepare() for server in self.embedded], cancelled=cancelled)


class Applications:
    """The API and the workers.

    Args:
        folder: the data folder, held.
        environment: everything that the processes find in their environment, the servers' URLs included.
        port: the API's port; 0 for the one of last time, 8000, or any free one, in this order.
        workers: how many ingest workers.
        with_roles: whether each process connects to PostgreSQL as the role that is its own; `enable_process_roles` has
            to come before they start.

    Raises:
        LocalStackError: `port` is taken.
    """

    def __init__(
        self,
        folder: DataFolder,
        environment: Mapping[str, str],
        *,
        port: int = 0,
        workers: int = 1,
        with_roles: bool = False,
    ) -> None:
        if port and not is_free(port):
            raise LocalStackError(f"port {port} is in use; give another --port, or none to take a free one")
        self.port_remark: str | None = None
        """Why the port is another than that of last time or 8000; None if nothing was in the way."""
        if port:
            self.port = port
        else:
            preferred = (folder.last_port("api") or _USUAL_PORT, _USUAL_PORT)
            self.port = folder.port("api", _USUAL_PORT)
            taken = [wanted for wanted in preferred if wanted != self.port and not is_free(wanted)]
            if taken:
                self.port_remark = f"port {taken[0]} is in use, so the API takes {self.port}"
        self.url = f"http://{HOST}:{self.port}"
        self._environment = {**environment, "PORT": str(self.port), "SSPP_HOST": HOST}
        self._workers = workers
        self._password_of = folder.password if with_roles else None

    def start(self, supervisor: Supervisor, *, cancelled: Cancelled | None = None) -> None:
        """Start all under `supervisor` and return when ``/readyz`` answers 200.

        Raises:
            LocalStackError: one of them does not start.
        """
        ingest = [f"ingest-{number}" for number in range(1, self._workers + 1)]
        supervisor.start(
            [
                self._api(),
                *(self._worker(name, "ingest") for name in ingest),
                self._worker("index", "index"),
                self._worker("maintenance", "maintenance"),
            ],
            timeout_seconds=120,
            cancelled=cancelled,
        )

    def _api(self) -> Command:
        return Command(
            name="api",
            argv=(sys.executable, "-m", "api"),
            environment=self._environment_of("api"),
            is_ready=lambda: answers_ok(self.port, "/readyz"),
        )

    def _worker(self, name: str, queue: str) -> Command:
        return Command(
            name=f"worker-{name}",
            argv=(str(Path(sys.executable).with_name("rq")), "worker", queue),
            environment=self._environment_of(queue),
        )

    def _environment_of(self, process: str) -> Mapping[str, str]:
        if self._password_of is None:
            return self._environment
        url = process_url(self._environment[Postgres.variable], process, self._password_of)
        return {**self._environment, Postgres.variable: url}


def process_environment(inherited: Mapping[str, str], urls: Mapping[str, str]) -> dict[str, str]:
    """What the platform's processes need in their environment: `inherited`, with `urls` and RQ's names on top."""
    return {
        "LOG_FORMAT": "console",
        **inherited,
        **urls,
        **queue_environment(urls),
        # Lines reach the log file when they are written, not when a buffer is full.
        "PYTHONUNBUFFERED": "1",
    }


def queue_environment(urls: Mapping[str, str]) -> dict[str, str]:
    """What RQ's command line reads, so that ``rq worker QUEUE`` needs no flags."""
    return {"RQ_REDIS_URL": urls[Valkey.variable], "RQ_WORKER_CLASS": WORKER_CLASS}


def given_urls() -> dict[str, str]:
    """The servers that our own environment names."""
    names = (Postgres.variable, Valkey.variable, "CACHE_URL", Search.variable)
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _is_embedded(folder: DataFolder, variable: str, url: str) -> bool:
    # A shell that has read the folder's env file names the embedded servers themselves: not running yet.
    names = {server.variable: server.name for server in (Postgres, Valkey, Search)} | {
        "CACHE_URL": Valkey.name
    }
    parts = urlsplit(url)
    return variable in names and parts.hostname == HOST and parts.port == folder.last_port(names[variable])


def _database_1(redis_url: str) -> str:
    return urlunsplit(urlsplit(redis_url)._replace(path="/1"))
